# SPDX-License-Identifier: Apache-2.0
"""Clones: by a stand-in for macOS's call, and on whatever file system the tests run on."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cove.system import clone as module
from cove.system.clone import _clone_mac, _clonefile, clone
from cove.system.sparse import copy_sparse


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"x" * 100_000)
    path.chmod(0o644)
    return path


def apfs(source: int, target: bytes) -> int:
    """What fclonefileat(2) does: mode and contents are the original's, nothing is overwritten."""
    if os.path.lexists(target):
        return errno.EEXIST
    shutil.copyfile(f"/proc/self/fd/{source}", target)
    Path(os.fsdecode(target)).chmod(os.fstat(source).st_mode & 0o777)
    return 0


def failing(number: int) -> Callable[[int, bytes], int]:
    return lambda _source, _target: number


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def test_a_mac_makes_the_copy_and_it_is_private(source: Path, tmp_path: Path) -> None:
    handle = opened(source)
    assert _clone_mac(handle, tmp_path / "copy", apfs)
    os.close(handle)
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


def test_a_mac_overwrites_nothing(source: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"old")
    handle = opened(source)
    with pytest.raises(FileExistsError, match="copy"):
        _clone_mac(handle, tmp_path / "copy", apfs)
    os.close(handle)
    assert (tmp_path / "copy").read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EXDEV, errno.ENOSYS])
def test_where_it_cannot_be_done_nothing_is_left(source: Path, tmp_path: Path, number: int) -> None:
    assert not _clone_mac(0, tmp_path / "copy", failing(number))
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("call", [apfs, failing(errno.ENOTSUP), failing(errno.EXDEV)])
def test_copies_on_a_mac(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[int, bytes], int]
) -> None:
    """A copy of a disk is a clone, and where that cannot be it is a copy."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(module, "_clonefile", call)
    assert copy_sparse(source, tmp_path / "copy", sync=True) == (0 if call is apfs else 100_000)
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        copy_sparse(source, tmp_path / "copy")


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is")
def test_a_c_library_without_the_call() -> None:
    assert _clonefile(0, b"/nowhere") == errno.ENOSYS


def test_here(source: Path, tmp_path: Path) -> None:
    handle = opened(source)
    made = clone(handle, tmp_path / "copy")
    assert (tmp_path / "copy").exists() == made
    if made:
        assert (tmp_path / "copy").read_bytes() == source.read_bytes()
        assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").touch()
    with pytest.raises(FileExistsError):
        clone(handle, tmp_path / "other")
    os.close(handle)


def test_not_to_another_file_system(source: Path) -> None:
    if not os.access("/dev/shm", os.W_OK) or Path("/dev/shm").stat().st_dev == source.stat().st_dev:
        pytest.skip("/dev/shm is no other file system here")
    target = Path("/dev/shm") / f"cove-clone-{os.getpid()}"
    handle = opened(source)
    try:
        assert not clone(handle, target)
        assert not target.exists()
        assert copy_sparse(source, target) == 100_000
    finally:
        os.close(handle)
        target.unlink(missing_ok=True)
