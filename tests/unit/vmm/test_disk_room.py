# SPDX-License-Identifier: Apache-2.0
"""A disk that is shown larger than it is, for a moment; and what is left of it however that moment ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cove.vmm.disk_room import ROOM, DiskRoom, forget_room

SIZE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "data.img"
    path.write_bytes(b"x" * 4096)
    os.truncate(path, SIZE)
    return path


def test_room_comes_and_goes_without_taking_any(disk: Path) -> None:
    before = disk.read_bytes(), disk.stat().st_blocks
    room = DiskRoom(disk)
    room.make()
    assert (disk.stat().st_size, disk.stat().st_blocks) == (ROOM, before[1])
    room.give_back()
    assert (disk.read_bytes(), disk.stat().st_blocks) == before
    os.truncate(disk, 2 * SIZE)  # it grew meanwhile
    room.give_back()
    assert disk.stat().st_size == 2 * SIZE


def test_what_was_written_beyond_is_kept(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By a guest whose image does not know the word."""
    room = DiskRoom(disk)
    room.make()
    with disk.open("r+b") as file:
        file.seek(3 * SIZE)
        file.write(b"precious")
    room.give_back()
    with disk.open("rb") as file:
        file.seek(3 * SIZE)
        assert file.read(8) == b"precious"
    assert "beyond" in caplog.text


def test_a_killed_starts_room_is_forgotten(disk: Path) -> None:
    forget_room(disk, SIZE // 2)
    assert disk.stat().st_size == SIZE
    DiskRoom(disk).make()
    again = DiskRoom(disk)
    again.make()
    again.give_back()
    assert disk.stat().st_size == ROOM  # whose size that was is not known here
    forget_room(disk, SIZE)
    assert disk.stat().st_size == SIZE


def test_no_disk_and_no_room(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = DiskRoom(None)
    nothing.make()
    nothing.give_back()

    def refuse(_path: object, _size: int) -> None:
        raise OSError(27, "File too large")

    monkeypatch.setattr(os, "truncate", refuse)
    room = DiskRoom(disk)
    room.make()
    room.give_back()
    assert disk.stat().st_size == SIZE
