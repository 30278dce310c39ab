"""Where a database file may lie."""

from pathlib import PurePosixPath

import pytest

from understudy.records.policy.mounts import is_unsafe, kind_of

MOUNTS = """\
22 1 0:21 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a - b
30 22 8:1 / /var/lib rw - ext4 /dev/sda1 rw
31 30 0:40 /export /var/lib/shared rw shared:2 master:1 - nfs4 server:/export rw
32 30 0:41 / /var/lib/with\\040space rw - fuse.sshfs somebody rw
33 30 0:42 / /var/lib/twice rw - cifs //server/x rw
34 33 0:43 / /var/lib/twice rw - tmpfs tmpfs rw
half a line
- short
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "overlay"),
        ("/var/library", "overlay"),
        ("/var/lib", "ext4"),
        ("/var/lib/understudy", "ext4"),
        ("/var/lib/shared/deep/down", "nfs4"),
        ("/var/lib/sharedbutnot", "ext4"),
        ("/var/lib/with space/x", "fuse.sshfs"),
        ("/var/lib/twice/x", "tmpfs"),
    ],
)
def test_the_innermost_mount_counts_and_of_several_at_one_place_the_last(folder: str, kind: str) -> None:
    assert kind_of(MOUNTS, PurePosixPath(folder)) == kind


def test_nothing_is_known_where_nothing_is_mounted() -> None:
    assert kind_of("", PurePosixPath("/var")) == ""


def test_networks_and_fuse_are_unsafe_and_disks_are_not() -> None:
    assert [
        kind for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse", "fuseblk", "fuse.s3fs") if not is_unsafe(kind)
    ] == []
    assert [kind for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "") if is_unsafe(kind)] == []
