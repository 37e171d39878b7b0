# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cove.errors import StorageError
from cove.system.files import make_sparse, read_json, rewrite_json, write_json
from cove.system.room import room_of
from tests.small_disk import small_disk

MIB = 1 << 20


def test_disk_is_named_with_what_it_has() -> None:
    with small_disk(MIB) as disk:
        disk.fill(8 << 10)
        below = disk.seen / "not" / "there"
        assert room_of(below) == f"8.0 KiB of 1.0 MiB are left on the disk at {disk.seen}"
    assert "are left on the disk at /" in (room_of(Path("/")) or "")


def test_full_disk_is_an_error_that_says_so() -> None:
    with small_disk(MIB) as disk:
        disk.fill()
        with pytest.raises(StorageError) as caught:
            write_json(disk.seen / "new.json", {"a": "b" * 8000})
        assert "writing new.json failed: No space left on device" in caught.value.message
        assert caught.value.details == f"0 B of 1.0 MiB are left on the disk at {disk.seen}"
        assert [path.name for path in disk.seen.iterdir()] == ["filling"]
        make_sparse(disk.seen / "hole", 2 * MIB)  # needs no room but for its name


def test_what_is_there_is_written_over_when_there_is_no_room_for_another() -> None:
    with small_disk(MIB) as disk:
        path = disk.seen / "state.json"
        write_json(path, {"long": "x" * 1000})
        disk.fill()
        for value in ({"short": 1}, {"longer": "y" * 2000}, {}):
            rewrite_json(path, value)
            assert read_json(path) == value
        with pytest.raises(StorageError):
            rewrite_json(path, {"too long": "z" * 9000})
        assert read_json(path) == value
        with pytest.raises(StorageError):
            rewrite_json(disk.seen / "other.json", {"a": "b" * 8000})
        assert sorted(path.name for path in disk.seen.iterdir()) == ["filling", "state.json"]
