# SPDX-License-Identifier: Apache-2.0
"""Hide folders from a child process: it sees empty ones in their place, in a mount namespace of its own.

Landlock can only allow, so it cannot take a folder out of one that is allowed. A namespace can, where the host lets
an ordinary user have one (unprivileged user namespaces) or we are root. Linux only.

Source: mount_namespaces(7), user_namespaces(7), mount(2).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT = 1, 2, 4, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MNT_DETACH = 2


def hide(folders: Iterable[Path], *, keep: Iterable[Path]) -> None:
    """Put an empty, read-only folder over each of ``folders``; between fork and exec. Ids stay as they are.

    Args:
        folders: without symlinks on the way; those that do not exist are left out.
        keep: files and folders in them that stay to be seen and used, at their place.

    Raises:
        OSError: the host does not let us. Then nothing is hidden, or, should it happen half-way, all of a folder.
    """
    present = [folder for folder in folders if folder.is_dir()]
    kept = [path for path in keep if path.exists()]
    _own_namespace()
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    for folder in present:
        _cover(folder, [path for path in kept if folder in path.parents])


def stand_in(files: Mapping[Path, Path]) -> None:
    """Show other files in the place of some; between fork and exec.

    Args:
        files: what is to be seen, by the path at which; both exist.

    Raises:
        OSError: the host does not let us, or one of them is not there.
    """
    _own_namespace()
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    for path, other in files.items():
        _mount(str(other), str(path), "", _MS_BIND)


def _own_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) == 0:
        return  # we are root, and stay able to do what root can
    uid, gid = os.geteuid(), os.getegid()
    _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "a user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _cover(folder: Path, kept: list[Path]) -> None:
    with ExitStack() as stack:
        handles = []
        for path in kept:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            handles.append((path, handle, path.is_dir()))
        _mount("hidden", str(folder), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
        try:
            for path, handle, is_folder in handles:
                (path if is_folder else path.parent).mkdir(parents=True, exist_ok=True)
                if not is_folder:
                    path.touch()
                _mount(f"/proc/self/fd/{handle}", str(path), "", _MS_BIND | _MS_REC)
            _mount("hidden", str(folder), "", _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
        except OSError:
            # a program without its own files would not start; better one that sees too much
            ctypes.CDLL(None).umount2(os.fsencode(folder), _MNT_DETACH)
            raise


def _mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) if word else None for word in (source, target, fstype)]
    _check(libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None), target)


def _check(result: int, name: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
