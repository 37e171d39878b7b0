# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from cove.system.mounts import mount_of, read_mac_mounts, read_mounts

LINUX = """\
/dev/vda1 / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw,nosuid,noexec 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sda1 /mnt/My\\040Disk vfat rw 0 0
tmpfs /tmp tmpfs rw,nosuid 0 0
broken
"""
MAC = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
devfs on /dev (devfs, local, nobrowse)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse, protect)
//ann@nas/work on /Volumes/My (old) Work (smbfs, noexec, nodev, nosuid, mounted by ann)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
"""


def test_linux() -> None:
    mounts = read_mounts(LINUX)
    assert len(mounts) == 5

    def kind(path: str) -> str:
        found = mount_of(mounts, Path(path))
        return found.kind if found else ""

    assert [kind(path) for path in ("/", "/homes", "/home", "/home/ann/.cove", "/mnt/My Disk/x")] == [
        "ext4", "ext4", "nfs4", "nfs4", "vfat",
    ]  # fmt: skip
    later = mount_of(mounts, Path("/tmp/x"))
    assert later is not None
    assert "noexec" not in later.options
    assert mount_of([], Path("/")) is None


def test_mac() -> None:
    mounts = read_mac_mounts(MAC)
    assert [mount.point for mount in mounts] == [
        "/", "/dev", "/System/Volumes/Data", "/Volumes/My (old) Work", "/System/Volumes/Data/home",
    ]  # fmt: skip
    shared = mount_of(mounts, Path("/Volumes/My (old) Work/x"))
    assert shared is not None
    assert (shared.kind, "noexec" in shared.options) == ("smbfs", True)
