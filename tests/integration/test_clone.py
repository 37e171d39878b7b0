# SPDX-License-Identifier: Apache-2.0
"""Clones of disks on real file systems that can make them: btrfs and XFS in a file of this host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cove.sdk import Client
from cove.system.sparse import copy_sparse, same_contents
from cove.toolbox.model import Group, Program
from cove.toolbox.toolbox import ensure
from tests.integration.world import Home

MIB = 1 << 20
GROUP = Group(
    name="clone-test",
    packages=("btrfs-progs", "xfsprogs"),
    programs=(
        Program(name="mkfs.btrfs", path="usr/sbin/mkfs.btrfs", package="btrfs-progs", minimum=(6,)),
        Program(name="mkfs.xfs", path="usr/sbin/mkfs.xfs", package="xfsprogs", minimum=(6,)),
    ),
)


@contextmanager
def mounted(home: Home, kind: str, folder: Path) -> Iterator[Path]:
    """A file system of one's own."""
    if os.geteuid() != 0 or kind not in Path("/proc/filesystems").read_text().split():
        pytest.skip(f"{kind} cannot be mounted here")
    workshop = Client(home=home.root).workshop()
    command = ensure(GROUP, archive=lambda: workshop.archive("x86_64"), tools=workshop.home.tools).command(
        f"mkfs.{kind}"
    )
    disk, place = folder / "disk", folder / "mounted"
    with disk.open("wb") as file:
        file.truncate(400 * MIB)
    place.mkdir()
    subprocess.run([*command.argv, str(disk)], env=command.env, check=True, capture_output=True, timeout=60)
    done = subprocess.run(
        ["mount", "-o", "loop", str(disk), str(place)], check=False, capture_output=True, timeout=60
    )
    if done.returncode:
        pytest.skip(f"no loop devices here: {done.stderr.decode()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=60)


@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
def test_a_copy_of_a_disk_takes_no_space(shared: Home, tmp_path: Path, kind: str) -> None:
    with mounted(shared, kind, tmp_path) as place:
        disk = place / "data.img"
        with disk.open("wb") as file:
            file.truncate(64 * MIB)
            for begin in (0, 40):
                file.seek(begin * MIB)
                file.write(os.urandom(20 * MIB))
            os.fsync(file.fileno())
        before = os.statvfs(place)
        assert copy_sparse(disk, place / "copy.img", sync=True) == 0
        after = os.statvfs(place)
        assert (before.f_bfree - after.f_bfree) * before.f_frsize < MIB
        assert same_contents(disk, place / "copy.img")
        assert (place / "copy.img").stat().st_mode & 0o777 == 0o600
        with (place / "copy.img").open("r+b") as file:  # what is written to one is not in the other
            file.write(b"changed")
        assert not same_contents(disk, place / "copy.img")
        # a file system of its own shares with no other
        assert copy_sparse(disk, tmp_path / "outside.img") == 40 * MIB
        assert same_contents(disk, tmp_path / "outside.img")
