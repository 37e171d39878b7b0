# SPDX-License-Identifier: Apache-2.0
"""What the file system under a folder can do, found by trying it in a scratch folder that is removed again."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cove.errors import CoveError
from cove.spec.abilities import Abilities
from cove.system.files import remove_tree
from cove.system.mounts import Mount, mount_of, read_mac_mounts, read_mounts
from cove.system.process import run

_HOLE = 16 << 20
_DEADLINE = 5.0


def examine(folder: Path) -> Abilities:
    """Try what the file system of ``folder`` can do; takes some milliseconds, and leaves nothing behind."""
    place = _nearest(folder)
    mount = mount_of(mounts(), Path(os.path.realpath(place)))
    info, space = place.stat(), os.statvfs(place)
    tried = _try_all(place)
    return Abilities(
        path=str(place),
        exists=place == folder,
        owned=info.st_uid == os.geteuid(),
        writable=tried is not None,
        kind=mount.kind if mount else "",
        noexec=mount is not None and "noexec" in mount.options,
        free=space.f_bavail * space.f_frsize,
        **(tried or {}),
    )


def mounts() -> list[Mount]:
    """What is mounted on this host; nothing if it does not say."""
    try:
        if sys.platform == "linux":
            return read_mounts(Path("/proc/self/mounts").read_text(errors="replace"))
        done = run([shutil.which("mount") or "/sbin/mount"], doing="asking for mounts", deadline=_DEADLINE)
    except (OSError, CoveError):
        return []
    return read_mac_mounts(done.stdout.decode(errors="replace"))


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _try_all(place: Path) -> dict[str, bool | None] | None:
    try:
        scratch = Path(tempfile.mkdtemp(dir=place, prefix=".cove-"))
    except OSError:
        return None
    try:
        return {name: _outcome(attempt, scratch) for name, attempt in _ATTEMPTS.items()}
    finally:
        remove_tree(scratch)


def _outcome(attempt: Callable[[Path], bool | None], scratch: Path) -> bool | None:
    try:
        return attempt(scratch)
    except OSError:
        return False


def _sockets(scratch: Path) -> bool | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        try:
            made.bind(str(scratch / "s"))
        except OSError as error:
            # Python's own refusal of a long path has no number, and says nothing about the file system
            if error.errno is None:
                return None
            raise
        made.listen()
    return True


def _locks(scratch: Path) -> bool:
    with (scratch / "l").open("w") as first, (scratch / "l").open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _links(scratch: Path) -> bool:
    (scratch / "link").symlink_to("nowhere")
    return (scratch / "link").is_symlink()


def _modes(scratch: Path) -> bool:
    private = scratch / "m"
    private.touch()
    private.chmod(0o600)
    return private.stat().st_mode & 0o777 == 0o600


def _sparse(scratch: Path) -> bool:
    with (scratch / "hole").open("wb") as file:
        file.truncate(_HOLE)
        return os.fstat(file.fileno()).st_blocks * 512 < _HOLE // 2


def _case_sensitive(scratch: Path) -> bool:
    (scratch / "case").touch()
    return not (scratch / "CASE").exists()


_ATTEMPTS: dict[str, Callable[[Path], bool | None]] = {
    "sockets": _sockets,
    "locks": _locks,
    "links": _links,
    "modes": _modes,
    "sparse": _sparse,
    "case_sensitive": _case_sensitive,
}
