# SPDX-License-Identifier: Apache-2.0
"""Put a .deb's files into a folder, as an ordinary user, and never outside of it.

Symlinks met on the way mean what they mean inside the installed system: ``bin -> usr/bin`` (merged /usr) and
``var/run -> /run`` are followed inside the folder, whoever planted them. The walk opens nothing through a
symlink: it reads each link itself and goes on from the folder's root, as openat2(2)'s RESOLVE_IN_ROOT does,
which neither Python nor macOS has.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import IO

from cove.debian.deb import Deb
from cove.errors import ArchiveError
from cove.system.files import storage_errors

_MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)
_COPY_BUFFER = 1 << 20


def extract(deb: Path, into: Path) -> None:
    """Unpack the data of ``deb`` into the folder ``into``, which is created if needed.

    Files belong to the caller; modes are kept, without the set-id bits where the system refuses them, and the
    owner may always enter and write folders (else later packages could not be unpacked there). Times of files
    and symlinks are kept, those of folders are not. A file that exists is replaced, never written through, so
    hard links elsewhere keep their contents.

    Raises:
        ArchiveError: the .deb is damaged, tries to escape, or a file stands where a folder must be.
        StorageError: the disk is full or not writable.

    After an error ``into`` holds a part of the files: unpack into :func:`cove.system.files.building`.
    """
    with storage_errors(f"unpacking {deb.name}"):
        into.mkdir(parents=True, exist_ok=True)
        root = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            tree = _Tree(root, deb.name)
            for member, contents in Deb(deb).members():
                tree.put(member, contents)
        finally:
            os.close(root)


class _Tree:
    """A folder as the root of a system. Paths handed to the system are free of symlinks, below ``root``."""

    def __init__(self, root: int, deb: str) -> None:
        self._root = root
        self._deb = deb
        self._real: dict[str, str] = {}  # folder as named -> folder without symlinks

    def put(self, member: tarfile.TarInfo, contents: IO[bytes] | None) -> None:
        folder, _, name = member.name.rpartition("/")
        if member.isdir():
            self._chmod(self._folder(member.name), member.mode | 0o700)
            return
        parent = self._folder(folder)
        path = f"{parent}/{name}" if parent else name
        self._clear(path)
        if member.issym():
            os.symlink(member.linkname, path, dir_fd=self._root)
            self._real.clear()
        elif member.islnk():
            self._link(member.linkname, path)
            return
        elif contents is not None:
            self._write(path, contents, member.mode)
        os.utime(path, (member.mtime, member.mtime), dir_fd=self._root, follow_symlinks=False)

    def _folder(self, name: str) -> str:
        """The folder ``name`` without symlinks; made if it is missing."""
        found = self._real.get(name)
        if found is None:
            found = self._real[name] = self._walk(name)
        return found

    def _walk(self, name: str) -> str:
        done: list[str] = []
        pending = name.split("/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            path = "/".join([*done, part])
            target = self._step(path)
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise ArchiveError(f"{self._deb}: {name} goes through a circle of symlinks")
            if target.startswith("/"):
                done.clear()
            pending.extend(target.split("/")[::-1])
        return "/".join(done)

    def _step(self, path: str) -> str | None:
        """Make sure that ``path`` is a folder; if it is a symlink return its target instead."""
        try:
            mode = os.stat(path, dir_fd=self._root, follow_symlinks=False).st_mode
        except FileNotFoundError:
            os.mkdir(path, 0o755, dir_fd=self._root)
            self._chmod(path, 0o755)
            return None
        if stat.S_ISLNK(mode):
            return os.readlink(path, dir_fd=self._root)
        if not stat.S_ISDIR(mode):
            raise ArchiveError(f"{self._deb} needs a folder where another package has a file", details=path)
        return None

    def _clear(self, path: str) -> None:
        """Remove what stands at ``path``, unless it is a folder with something in it."""
        try:
            os.unlink(path, dir_fd=self._root)
            self._real.clear()
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):  # unlink(2) of a folder: EISDIR on Linux, EPERM on macOS
            try:
                os.rmdir(path, dir_fd=self._root)
            except OSError as error:
                raise ArchiveError(
                    f"{self._deb} has a file where another package has a folder", details=path
                ) from error
            self._real.clear()

    def _link(self, target: str, path: str) -> None:
        folder, _, name = target.rpartition("/")
        parent = self._folder(folder)
        source = f"{parent}/{name}" if parent else name
        try:
            os.link(source, path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError as error:
            raise ArchiveError(
                f"{self._deb} links to a file that it does not hold", details=f"{path} -> {target}"
            ) from error

    def _write(self, path: str, contents: IO[bytes], mode: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600, dir_fd=self._root), "wb", buffering=0) as file:
            shutil.copyfileobj(contents, file, _COPY_BUFFER)
            self._chmod(file.fileno(), mode)

    def _chmod(self, what: str | int, mode: int) -> None:
        """Set a mode, without the set-id bits where they are refused. ``what`` is never a symlink."""
        place = self._root if isinstance(what, str) else None
        try:
            os.chmod(what or ".", mode & 0o7777, dir_fd=place)
        except PermissionError:
            os.chmod(what or ".", mode & 0o777, dir_fd=place)
