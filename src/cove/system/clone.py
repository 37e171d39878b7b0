# SPDX-License-Identifier: Apache-2.0
"""Clones of files: copies that share all blocks with the original until one of both is written to.

They take no time and no space. APFS makes them by clonefile(2), in every Mac since macOS 10.13; on Linux btrfs, XFS
and bcachefs by ioctl_ficlone(2), and no file system between two.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_FICLONE = 0x40049409
"""_IOW(0x94, 9, int), linux/fs.h."""

_AT_FDCWD = -2
"""Of macOS, sys/fcntl.h."""

_CLONE_NOOWNERCOPY = 2
"""The copy is ours, whosever the original is; sys/clonefile.h."""

_Clone = Callable[[int, bytes], int]
"""Makes a clone of an open file at a path; returns 0 or the error's number."""


def clone(source: int, target: Path) -> bool:
    """Make ``target`` a clone of an open file, for its owner alone.

    Args:
        source: a descriptor for reading; nobody should write to that file meanwhile.
        target: must not exist.

    Returns:
        whether it was made. If not, because the file system cannot, there is no ``target``.

    Raises:
        FileExistsError: ``target`` exists.
    """
    if sys.platform == "darwin":
        return _clone_mac(source, target, _clonefile)
    return _clone_linux(source, target)


def _clone_linux(source: int, target: Path) -> bool:
    made = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.ioctl(made, _FICLONE, source)
    except OSError:  # most file systems cannot: EOPNOTSUPP, ENOTTY, EXDEV, EINVAL
        target.unlink()
        return False
    finally:
        os.close(made)
    return True


def _clone_mac(source: int, target: Path, clonefile: _Clone) -> bool:
    number = clonefile(source, bytes(target))
    if number == errno.EEXIST:
        raise FileExistsError(number, os.strerror(number), str(target))
    if number == 0:
        try:
            target.chmod(0o600)  # its mode is the original's
        except BaseException:
            with suppress(OSError):
                target.unlink()
            raise
    return number == 0  # else ENOTSUP, EXDEV, ENOSYS


def _clonefile(source: int, target: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        call = libc.fclonefileat
    except AttributeError:
        return errno.ENOSYS
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
    return ctypes.get_errno() if call(source, _AT_FDCWD, target, _CLONE_NOOWNERCOPY) else 0
