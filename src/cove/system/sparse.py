# SPDX-License-Identifier: Apache-2.0
"""Copies of sparse files that stay sparse: only what holds data is read, and what is zero takes no space.

A file system that can share blocks between files (APFS, btrfs, XFS) is asked for that first.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cove.system.clone import clone
from cove.system.files import storage_errors

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
"""FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE, linux/falloc.h."""

_SLICE = 4 << 20
_GRAIN = 64 << 10
_ZEROES = bytes(_GRAIN)
_WORKERS = 2

Extent = tuple[int, int]
"""Where data begins and ends in a file, in bytes."""


def copy_sparse(source: Path, target: Path, *, skip_zeroes: bool = False, sync: bool = False) -> int:
    """Copy a file; holes stay holes. The copy is readable by its owner only.

    Args:
        source: what to copy; nobody should write to it meanwhile.
        target: must not exist.
        skip_zeroes: make holes also of data that is zero.
        sync: have the copy on the disk when this returns.

    Returns:
        how many bytes of data were written; 0 of a clone.

    Raises:
        FileExistsError: ``target`` exists.
        StorageError: the disk is full or not writable; no copy is left then.
    """
    with storage_errors(f"copying to {target.name}", target):
        reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            shared = clone(reading, target)
            exclusive = 0 if shared else os.O_CREAT | os.O_EXCL
            writing = os.open(target, os.O_RDWR | exclusive | os.O_CLOEXEC, 0o600)
            try:
                written = 0 if shared else _copy(reading, writing, skip_zeroes=skip_zeroes)
                if sync:
                    os.fsync(writing)
                return written
            except BaseException:
                target.unlink(missing_ok=True)
                raise
            finally:
                os.close(writing)
        finally:
            os.close(reading)


def fill_sparse(source: Path, target: Path) -> int:
    """Write the data of ``source`` into ``target``, which exists, is as long, and holds nothing yet.

    Returns:
        how many bytes of data were written.

    Raises:
        StorageError: there is no room for them.
    """
    with storage_errors(f"copying to {target.name}", target):
        reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            writing = os.open(target, os.O_RDWR | os.O_CLOEXEC)
            try:
                return _write_data(reading, writing, skip_zeroes=False)
            finally:
                os.close(writing)
        finally:
            os.close(reading)


def same_contents(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes, holes being zeroes."""
    with one.open("rb") as first, other.open("rb") as second:
        if os.fstat(first.fileno()).st_size != os.fstat(second.fileno()).st_size:
            return False
        places = {*_slices(first.fileno()), *_slices(second.fileno())}
        return all(
            os.pread(first.fileno(), end - start, start) == os.pread(second.fileno(), end - start, start)
            for start, end in places
        )


def sync_file(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before anything else happens."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def data_extents(handle: int) -> Iterator[Extent]:
    """Where an open file holds data; the whole of it where the file system cannot tell (lseek(2), SEEK_DATA)."""
    size = os.fstat(handle).st_size
    end = 0
    while end < size:
        try:
            start = os.lseek(handle, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole is left
            return
        end = os.lseek(handle, start, os.SEEK_HOLE)
        yield start, end


def _copy(reading: int, writing: int, *, skip_zeroes: bool) -> int:
    os.ftruncate(writing, os.fstat(reading).st_size)
    return _write_data(reading, writing, skip_zeroes=skip_zeroes)


def _slices(handle: int) -> Iterator[Extent]:
    for start, end in data_extents(handle):
        for place in range(start, end, _SLICE):
            yield place, min(place + _SLICE, end)


def _write_data(reading: int, writing: int, *, skip_zeroes: bool) -> int:
    if os.fstat(reading).st_size == 0:
        return 0
    from concurrent.futures import ThreadPoolExecutor

    with mmap.mmap(reading, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        write = partial(_write_grains if skip_zeroes else _write_all, view, writing)
        # the kernel does the work, outside of the interpreter's lock
        with ThreadPoolExecutor(_WORKERS) as workers:
            return sum(workers.map(write, _slices(reading)))


def _write_all(view: memoryview, writing: int, extent: Extent) -> int:
    start, end = extent
    place = start
    while place < end:
        with view[place:end] as rest:
            place += os.pwrite(writing, rest, place)
    return end - start


def _write_grains(view: memoryview, writing: int, extent: Extent) -> int:
    """Write runs of grains that are not zero."""
    start, end = extent
    written, run = 0, start
    for place in range(start, end, _GRAIN):
        stop = min(place + _GRAIN, end)
        if bytes(view[place:stop]) == _ZEROES[: stop - place]:
            written += _write_all(view, writing, (run, place))
            run = stop
    return written + _write_all(view, writing, (run, end))


def punch(handle: int, offset: int, size: int) -> None:
    """Cut a part out of an open file: it reads as zeroes and takes no space; the file's size stays (Linux).

    Raises:
        OSError: the file is not open for writing, or its file system cannot.
    """
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(handle, _PUNCH_HOLE | _KEEP_SIZE, offset, size):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
