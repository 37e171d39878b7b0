# SPDX-License-Identifier: Apache-2.0
"""Unpack packages into scratch files and write trees as tars; memory does not grow with the contents."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from cove.debian.deb import Deb
from cove.errors import ArchiveError
from cove.image.entries import Entry, EntryKind, Piece
from cove.system.files import remove_tree, storage_errors

_BUFFER = 1 << 20
_KINDS = {tarfile.DIRTYPE: EntryKind.DIRECTORY, tarfile.SYMTYPE: EntryKind.SYMLINK}
_TYPES = {
    EntryKind.DIRECTORY: tarfile.DIRTYPE,
    EntryKind.FILE: tarfile.REGTYPE,
    EntryKind.SYMLINK: tarfile.SYMTYPE,
}


def unpack_all(debs: Mapping[str, Path], scratch: Path) -> dict[str, list[Entry]]:
    """Unpack packages, several at once (decompression runs outside the interpreter's lock).

    Args:
        debs: package name -> .deb.
        scratch: a folder; gets one file per package, which the entries' contents point into.

    Returns:
        package name -> entries in the package's order; names sorted, whatever was ready first.

    Raises:
        ArchiveError: a package is damaged.
        StorageError: the disk is full.
    """
    with storage_errors("unpacking packages"), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = {
            name: pool.submit(unpack, name, debs[name], scratch / f"{name}.data") for name in sorted(debs)
        }
        return {name: job.result() for name, job in jobs.items()}


def unpack(name: str, deb: Path, spool: Path) -> list[Entry]:
    """Unpack one package into the file ``spool``; returns its entries. Errors as in :func:`unpack_all`."""
    found: dict[str, Entry] = {}
    with spool.open("wb") as out:
        for member, stream in Deb(deb).members():
            if member.islnk():
                _link(found, member, name)
                continue
            offset = out.tell()
            if stream is not None:
                shutil.copyfileobj(stream, out, _BUFFER)
            piece = Piece(file=spool, offset=offset, size=out.tell() - offset)
            found[member.name] = Entry(
                path=member.name,
                kind=_KINDS.get(member.type, EntryKind.FILE),
                mode=member.mode & 0o7777,
                uid=member.uid,
                gid=member.gid,
                mtime=int(member.mtime),
                target=member.linkname,
                contents=piece,
                origin=name,
            )
    return list(found.values())


def _link(found: dict[str, Entry], member: tarfile.TarInfo, package: str) -> None:
    first = found.get(member.linkname)
    if first is None:
        raise ArchiveError(
            f"{package} links to a file that it does not hold", details=f"{member.name} -> {member.linkname}"
        )
    first = replace(first, inode=first.inode or f"{package}:{first.path}")
    found[first.path] = first
    found[member.name] = replace(first, path=member.name)


def sweep(folder: Path) -> None:
    """Remove the scratch folders of builds that were killed; call it with ``folder``'s lock held."""
    for left in folder.glob(".*.*"):
        if left.is_dir():
            remove_tree(left)


@dataclass(frozen=True)
class Written:
    """A file that was written: its size in bytes and its SHA-256 (hex)."""

    size: int
    sha256: str


class HashingWriter:
    """A file open for writing that knows the digest of what went through."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        """Write all of ``data``."""
        self._digest.update(data)
        self._size += len(data)
        return self._stream.write(data)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    @property
    def written(self) -> Written:
        """What was written so far."""
        return Written(self._size, self._digest.hexdigest())


def write_tar(entries: Iterable[Entry], into: Path) -> Written:
    """Write entries as a tar (POSIX pax, numeric owners), the same bytes for the same entries.

    Args:
        entries: sorted by path, so that folders come before what they hold.
        into: the file.

    Raises:
        StorageError: the disk is full.
    """
    first_of: dict[str, str] = {}
    with storage_errors(f"writing {into.name}"), into.open("wb") as raw:
        out: Any = HashingWriter(raw)
        with tarfile.TarFile(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, copybufsize=_BUFFER) as tar:
            for entry in entries:
                info = _header(entry)
                if entry.inode and entry.inode in first_of:
                    info.type, info.linkname, info.size = tarfile.LNKTYPE, first_of[entry.inode], 0
                first_of.setdefault(entry.inode, entry.path)
                _add(tar, info, entry)
                tar.members = []  # type: ignore[attr-defined]  # else it keeps every header it wrote
        written: Written = out.written
    return written


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, entry: Entry) -> None:
    if not info.size:
        tar.addfile(info)
    elif isinstance(entry.contents, Piece):
        with entry.contents.file.open("rb") as stream:
            stream.seek(entry.contents.offset)
            tar.addfile(info, stream)
    else:
        tar.addfile(info, io.BytesIO(entry.contents))


def _header(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.path)
    info.type = _TYPES[entry.kind]
    info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.uid, entry.gid, entry.mtime
    info.linkname = entry.target if entry.kind is EntryKind.SYMLINK else ""
    info.size = entry.size if entry.kind is EntryKind.FILE else 0
    return info
