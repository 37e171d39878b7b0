# SPDX-License-Identifier: Apache-2.0
"""Files that are either whole or absent, private folders, and locks between processes."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cove.errors import ConflictError, DeadlineError, StorageError
from cove.system.room import NO_ROOM, room_of

STORAGE_HINT = "Free some space or set COVE_HOME to a folder that you may write to."

_REFUSED = NO_ROOM | {errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}

_SCRATCH = re.compile(r"\..+\.[a-z0-9_]{8}")
"""Names that tempfile makes of a prefix with dots; see its _RandomNameSequence."""


@contextmanager
def storage_errors(doing: str, place: Path | None = None) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk met in the block into a :class:`StorageError`.

    Args:
        doing: what the block does, for people.
        place: what it writes; of errors that name no file.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        where = error.filename or place
        raise StorageError(
            f"{doing} failed: {error.strerror}" + (f": {where}" if where else ""),
            details=room_of(Path(os.fsdecode(where))) if where and error.errno in NO_ROOM else None,
            hint=STORAGE_HINT,
        ) from error


def private_folder(path: Path) -> Path:
    """Create ``path`` and its parents if needed, and make it readable by its owner only (0700).

    Raises:
        StorageError: it cannot be created or is owned by someone else.
    """
    with storage_errors("creating a private folder"):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    return path


def write_atomic(path: Path, contents: str | bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` in one step; after a crash it has either the old or the new contents."""
    data = contents.encode() if isinstance(contents, str) else contents
    with storage_errors(f"writing {path.name}", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_json(path: Path, value: object) -> None:
    """Replace ``path`` by ``value`` as indented JSON with sorted keys."""
    write_atomic(path, _json(value))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def rewrite_json(path: Path, value: object) -> None:
    """Like :func:`write_json`, but where there is no room for a second file the one that is there is written over.

    Whoever reads it in that moment may see half of it.

    Raises:
        StorageError: that is not possible either.
    """
    try:
        write_json(path, value)
    except StorageError:
        if not path.exists():
            raise
        with storage_errors(f"writing {path.name}", path), path.open("r+b", buffering=0) as file:
            before = file.read()
            try:
                _write_over(file.fileno(), _json(value).encode())
            except OSError:
                _write_over(file.fileno(), before)
                raise


def _write_over(handle: int, data: bytes) -> None:
    """Make ``data`` the contents of a file, whose blocks are enough for as much as it has."""
    written = 0
    while written < len(data):
        written += os.pwrite(handle, data[written:], written)
    os.ftruncate(handle, len(data))
    os.fsync(handle)


def read_json(path: Path) -> Any | None:
    """The JSON in ``path``, or None if it is missing or not JSON (a crash cannot leave half a file)."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def try_lock(path: Path) -> int | None:
    """Take the exclusive lock on ``path`` and return its descriptor, or None if another process has it.

    The lock lives as long as the descriptor (or a copy that a child inherited) is open.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle


@contextmanager
def locked(path: Path, *, waiting_for: str, deadline: float = 600.0) -> Iterator[None]:
    """Hold the exclusive lock on ``path`` during the block.

    Args:
        path: the lock file; created, never removed (removing it would let two holders in).
        waiting_for: what the holder does, for the error.
        deadline: seconds to wait; flock(2) has no deadline of its own, so this looks again every 50 ms.

    Raises:
        DeadlineError: someone else held it all the time.
    """
    with storage_errors("locking"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = try_lock(path)
    end = time.monotonic() + deadline
    while handle is None:
        if time.monotonic() > end:
            raise DeadlineError(
                f"another process has been {waiting_for} for {deadline:.0f} s", hint=f"See {path}"
            )
        time.sleep(0.05)
        handle = try_lock(path)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def shared_lock(path: Path, *, waiting_for: str, deadline: float) -> Iterator[None]:
    """Hold a lock on ``path`` during the block that others may share, while nobody has the exclusive one.

    Arguments and errors as in :func:`locked`.
    """
    end = time.monotonic() + deadline
    with storage_errors("locking"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise DeadlineError(
                        f"another process has been {waiting_for} for {deadline:.0f} s", hint=f"See {path}"
                    ) from None
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Give a fresh folder beside ``target`` that becomes ``target`` when the block succeeds.

    On failure the folder is removed and ``target`` is untouched.

    Raises:
        ConflictError: ``target`` exists already when the block ends.
        StorageError: the disk is full or not writable.
    """
    with storage_errors(f"making {target.name}", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            yield scratch
            try:
                scratch.rename(target)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    raise ConflictError(f"{target} exists already") from error
                raise
        finally:
            remove_tree(scratch)


def sweep_scratch(folder: Path) -> None:
    """Remove what :func:`write_atomic` and :func:`building` left in a folder when their process was killed.

    Nobody may be at work there.
    """
    for path in folder.glob(".*"):
        if _SCRATCH.fullmatch(path.name):
            remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it, also where folders were made read-only; absent is fine."""

    def make_writable_and_retry(function: Any, name: str, _error: Any) -> None:
        if _error[0] is FileNotFoundError:
            return
        Path(name).parent.chmod(0o700)
        if Path(name).is_dir() and not Path(name).is_symlink():
            Path(name).chmod(0o700)
        function(name)

    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, onerror=make_writable_and_retry)


def link_to(target: Path, link: Path) -> None:
    """Make ``link`` a symbolic link to ``target``; an older one is replaced at once.

    Raises:
        StorageError: it cannot be made.
    """
    scratch = link.with_name(f".{link.name}.{os.getpid()}")
    with storage_errors(f"making {link}"):
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(target)
        scratch.replace(link)


def make_sparse(path: Path, size: int) -> None:
    """Create ``path`` as a sparse file of ``size`` bytes, readable by its owner only.

    Raises:
        FileExistsError: it exists; data is never overwritten.
        StorageError: the disk is full or not writable.
    """
    with storage_errors(f"creating {path.name}", path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(handle, size)
        except BaseException:
            path.unlink(missing_ok=True)  # an empty one would pass for the disk at the next start
            raise
        finally:
            os.close(handle)


def grow_sparse(path: Path, size: int) -> bool:
    """Make ``path`` at least ``size`` bytes long without using disk space; says whether it grew. Never shrinks it.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the file system takes no file of this size, or the file cannot be written.
    """
    with storage_errors(f"growing {path.name}", path):
        if path.stat().st_size >= size:
            return False
        os.truncate(path, size)
    return True


def allocated(path: Path) -> int:
    """Bytes that ``path``, a file or a folder with all below it, really takes on the disk."""
    total = 0
    seen: set[tuple[int, int]] = set()
    pending = [path]
    while pending:
        current = pending.pop()
        try:
            info = current.lstat()
            if current.is_dir() and not current.is_symlink():
                pending.extend(current.iterdir())
        except OSError:
            continue
        if (info.st_dev, info.st_ino) not in seen:
            seen.add((info.st_dev, info.st_ino))
            total += info.st_blocks * 512
    return total


class Section(io.RawIOBase):
    """A part of a file as a stream of its own.

    Args:
        path: the file.
        offset: where the part begins, in bytes.
        size: its length in bytes.
    """

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._stream = path.open("rb", buffering=0)
        self._stream.seek(offset)
        self._left = size

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with what is there; 0 at the end."""
        view = memoryview(buffer)[: self._left]
        count = self._stream.readinto(view) or 0
        self._left -= count
        return count

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()
