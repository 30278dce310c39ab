"""Which file system a folder lies on, and whether a database file may lie there.

SQLite keeps its index of the journal in memory that is shared through a file, and locks ranges of bytes: over a
network, and through FUSE, either may silently not hold, and then the database is damaged.
"""

import re
from pathlib import PurePosixPath
from typing import Final

_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs"})
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def kind_of(mounts: str, folder: PurePosixPath) -> str:
    """The kind of file system that `folder` (absolute, without links) lies on; "" if nothing is mounted above it.

    `mounts` is what Linux says in /proc/self/mountinfo (proc(5)).
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = PurePosixPath(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # Of several at one place the last one is seen.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.partition(" ")[0]
    return kind


def is_unsafe(kind: str) -> bool:
    """Whether locks and shared memory may not hold on such a file system."""
    return kind in _REMOTE or kind.startswith("fuse")
