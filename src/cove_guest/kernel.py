# SPDX-License-Identifier: Apache-2.0
"""Calls of the Linux kernel that Python has no name for. Imported when needed: ``ctypes`` takes a while."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

_IN_CREATE = 0x100
_IN_MOVED_TO = 0x80
_MNT_DETACH = 2
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_STATX_FORCE_SYNC = 0x2000
_STATX_TYPE_AND_MODE = 3
_FITRIM = 0xC0185879
"""_IOWR('X', 121, struct fstrim_range), linux/fs.h."""

_FIFREEZE = 0xC0045877
_FITHAW = 0xC0045878
"""_IOWR('X', 119 and 120, int), linux/fs.h."""

_RNDADDENTROPY = 0x40085203
_RNDRESEEDCRNG = 0x5207
"""_IOW('R', 3, int[2]) and _IO('R', 7), linux/random.h."""

_CLONE_NEWNET = 0x40000000
_TRIM_SLICE = 256 << 20

MOUNT_FLAGS = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "remount": 32,
    "dirsync": 128,
    "noatime": 1024,
    "nodiratime": 2048,
    "bind": 4096,
    "rbind": 4096 | 16384,
    "private": 1 << 18,
    "rprivate": 1 << 18 | 16384,
    "slave": 1 << 19,
    "rslave": 1 << 19 | 16384,
    "shared": 1 << 20,
    "rshared": 1 << 20 | 16384,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
}
"""Mount options that are flags of mount(2) (linux/mount.h); any other goes to the file system as text."""


def _check(result: int, name: str = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def watch_folder(folder: str) -> int:
    """A non-blocking inotify(7) descriptor that becomes readable when a name appears in ``folder``.

    Raises:
        OSError: there is no such folder, or no inotify.
    """
    handle = _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        _check(_libc.inotify_add_watch(handle, os.fsencode(folder), _IN_CREATE | _IN_MOVED_TO), folder)
    except BaseException:
        os.close(handle)
        raise
    return handle


def touch(path: str) -> bool:
    """Change nothing of a file or folder in a way that inotify(7) tells: says whether there was one.

    Its mode is set to what it is (IN_ATTRIB), and a file is opened for writing and closed (IN_CLOSE_WRITE).
    Neither changes contents or times of modification.
    """
    import stat

    mode = _fresh_mode(path)
    if mode is None or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return False
    try:
        if not mode & stat.S_ISGID:  # which an ordinary user's chmod may lose
            os.chmod(path, stat.S_IMODE(mode))
        if stat.S_ISREG(mode):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError:
        pass  # not the user's own, read-only, or gone meanwhile: whoever watches may have been woken by half of it
    return True


def _fresh_mode(path: str) -> int | None:
    """The mode as the host has it now, and not as we remember it: setting an old one would undo a chmod."""
    answer = ctypes.create_string_buffer(256)
    flags = _AT_SYMLINK_NOFOLLOW | _AT_STATX_FORCE_SYNC
    if _libc.statx(_AT_FDCWD, os.fsencode(path), flags, _STATX_TYPE_AND_MODE, answer) != 0:
        return None
    # struct statx of linux/stat.h
    return int.from_bytes(answer.raw[28:30], "little")


def split_options(options: list[str]) -> tuple[int, str]:
    """Mount options as the flags and the text that mount(2) takes."""
    flags = 0
    for option in options:
        flags |= MOUNT_FLAGS.get(option, 0)
    rest = [option for option in options if option not in MOUNT_FLAGS and option not in ("rw", "defaults")]
    return flags, ",".join(rest)


def mount(source: str, target: str, fstype: str, options: list[str]) -> None:
    """Mount a file system (man 2 mount).

    Raises:
        OSError: the kernel refused; holds the target.
    """
    flags, data = split_options(options)
    encoded = (os.fsencode(source), os.fsencode(target), os.fsencode(fstype))
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data) if data else None), target)


def umount(target: str, *, lazy: bool) -> None:
    """Unmount (man 2 umount2); ``lazy`` detaches it now and lets it end when nobody uses it any more.

    Raises:
        OSError: the kernel refused; holds the target.
    """
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH if lazy else 0), target)


def trim(folder: str) -> int:
    """Tell the disk below the file system at ``folder`` which blocks are free; gives the bytes it was told.

    In slices: under User-Mode Linux a whole disk takes many seconds in which the kernel does nothing else.

    Raises:
        OSError: the file system or the disk cannot (EOPNOTSUPP), or we may not.
    """
    import errno

    total = start = 0
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            total += _trim_slice(handle, start)
            start += _TRIM_SLICE
    except OSError as error:
        if error.errno != errno.EINVAL or start == 0:
            raise
        return total  # the end of the file system
    finally:
        os.close(handle)


def _trim_slice(handle: int, start: int) -> int:
    import fcntl

    # struct fstrim_range: start, length, least length that is worth telling; the kernel replaces the length
    asked = bytearray(b"".join(number.to_bytes(8, "little") for number in (start, _TRIM_SLICE, 0)))
    fcntl.ioctl(handle, _FITRIM, asked)
    return int.from_bytes(asked[8:16], "little")


def freeze(folder: str) -> None:
    """Flush the file system at ``folder`` and let nobody write to it until :func:`thaw`.

    Raises:
        OSError: it cannot be frozen, or is frozen (EBUSY).
    """
    _control(folder, _FIFREEZE)


def thaw(folder: str) -> bool:
    """Let writers go on; says whether the file system was frozen."""
    import errno

    try:
        _control(folder, _FITHAW)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _control(folder: str, request: int) -> None:
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, request, 0)
    finally:
        os.close(handle)


def add_entropy(seed: bytes) -> None:
    """Mix what nobody else knows into the kernel's random numbers, and draw them from it at once.

    Raises:
        OSError: we may not.
    """
    import fcntl

    # struct rand_pool_info: bits, bytes, the bytes
    pool = (len(seed) * 8).to_bytes(4, "little") + len(seed).to_bytes(4, "little") + seed
    handle = os.open("/dev/urandom", os.O_WRONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _RNDADDENTROPY, pool)
        fcntl.ioctl(handle, _RNDRESEEDCRNG, 0)
    finally:
        os.close(handle)


def enter_network(process: str) -> None:
    """Have the calling thread, and no other, use the network namespace of a process (setns(2)).

    Raises:
        OSError: it has ended, or we may not.
    """
    handle = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(handle, _CLONE_NEWNET), process)
    finally:
        os.close(handle)


def set_hostname(name: str) -> None:
    """Name the guest (sethostname(2)).

    Raises:
        OSError: it is too long.
    """
    encoded = name.encode("ascii")
    _check(_libc.sethostname(encoded, len(encoded)), name)
