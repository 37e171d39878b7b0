# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.errors import StorageError
from cove.system.files import allocated
from cove.system.sparse import copy_sparse, data_extents, fill_sparse, same_contents, sync_file

MIB = 1 << 20


def sparse(path: Path, size: int, pieces: dict[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for place, data in pieces.items():
            file.seek(place)
            file.write(data)
    return path


@given(
    st.dictionaries(st.integers(0, 40), st.binary(min_size=1, max_size=3 << 16), max_size=5), st.booleans()
)
@settings(max_examples=30, deadline=None)
def test_copy_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, pieces: dict[int, bytes], skip: bool
) -> None:
    folder = tmp_path_factory.mktemp("sparse")
    size = 12 * MIB
    source = sparse(folder / "a", size, {place << 18: data for place, data in pieces.items()})
    copy_sparse(source, folder / "b", skip_zeroes=skip)
    assert (folder / "b").read_bytes() == source.read_bytes()
    assert same_contents(source, folder / "b")


def test_holes_and_zeroes_take_no_space(tmp_path: Path) -> None:
    source = sparse(tmp_path / "a", 64 * MIB, {8 * MIB: b"x" * MIB, 20 * MIB: bytes(8 * MIB)})
    assert copy_sparse(source, tmp_path / "b", skip_zeroes=True, sync=True) == MIB
    assert allocated(tmp_path / "b") <= 2 * MIB < allocated(source)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600


def test_empty_files_and_only_holes(tmp_path: Path) -> None:
    for size in (0, 5 * MIB):
        source = sparse(tmp_path / f"a{size}", size, {})
        assert copy_sparse(source, tmp_path / f"b{size}") == 0
        assert (tmp_path / f"b{size}").stat().st_size == size


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source = sparse(tmp_path / "a", MIB, {0: b"new"})
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        copy_sparse(source, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"old"


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full here")
def test_no_room_leaves_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = sparse(tmp_path / "a", MIB, {0: b"x" * MIB})
    full = os.open("/dev/full", os.O_WRONLY)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda _, data, place: write(full, data, place))
    with pytest.raises(StorageError, match=f"copying to b failed: No space left on device: {tmp_path}/b"):
        copy_sparse(source, tmp_path / "b")
    os.close(full)
    assert not (tmp_path / "b").exists()


def test_fill_and_difference(tmp_path: Path) -> None:
    source = sparse(tmp_path / "a", 16 * MIB, {9 * MIB: b"data"})
    target = sparse(tmp_path / "b", 16 * MIB, {})
    assert not same_contents(source, target)
    assert fill_sparse(source, target) > 0
    assert same_contents(source, target)
    assert not same_contents(source, sparse(tmp_path / "c", MIB, {}))
    sync_file(target)
    sync_file(tmp_path)


def test_extents(tmp_path: Path) -> None:
    source = sparse(tmp_path / "a", 16 * MIB, {8 * MIB: b"x" * MIB})
    with source.open("rb") as file:
        assert list(data_extents(file.fileno())) == [(8 * MIB, 9 * MIB)]
