"""Whether this machine withholds the capability that privileged containers ask for."""

from pathlib import Path

SYS_RESOURCE_BIT = 24


def withheld(status: str) -> bool:
    """Whether CAP_SYS_RESOURCE is missing from the bounding set in the text of a `/proc/<pid>/status`."""
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            return not int(line.split()[1], 16) >> SYS_RESOURCE_BIT & 1
    return False


def withheld_here() -> bool:
    """Whether CAP_SYS_RESOURCE is withheld from this process, and so from every container below it."""
    return withheld(Path("/proc/self/status").read_text())
