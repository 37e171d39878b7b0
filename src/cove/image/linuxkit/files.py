# SPDX-License-Identifier: Apache-2.0
"""The section ``files``: single files, folders and symlinks that are put over everything else."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from cove.errors import NotFoundError, StorageError
from cove.image.linuxkit.config import Config, FileEntry
from cove.image.linuxkit.metadata import metadata
from cove.image.linuxkit.output import TIME, Output
from cove.image.linuxkit.settings import numeric_id
from cove.image.rootfs import source_files
from cove.image.sbom.provenance import Artifact
from cove.image.tar.header import SYMLINK, Header, folder_of

_SOURCE = "linuxkit.files"
_CHUNK = 1 << 20


def add_files(config: Config, out: Output, base: Path) -> None:
    """Put the files of ``config`` there.

    A ``source`` that is a folder or a glob, which LinuxKit does not take, brings all below it.

    Args:
        config: the whole of it: ``metadata`` writes it into the image.
        out: where to.
        base: the folder that sources are relative to.

    Raises:
        NotFoundError: a source is missing.
        StorageError: it cannot be read.
    """
    made: set[str] = set()
    for index, entry in enumerate(config.files):
        found = _source(entry, base) if entry.kind == "source" else []
        if entry.kind == "source" and not found:
            continue
        _add(_Placed(entry, config.ids), found, config, out.at(_SOURCE, f"files[{index}]"), made)


class _Placed:
    """An entry with what it says of mode and owner."""

    def __init__(self, entry: FileEntry, ids: Mapping[str, int]) -> None:
        self.entry = entry
        self.uid, self.gid = numeric_id(entry.uid, ids), numeric_id(entry.gid, ids)

    def mode(self, otherwise: int) -> int:
        return otherwise if self.entry.mode is None else self.entry.mode


def _add(placed: _Placed, found: list[tuple[str, Path]], config: Config, out: Output, made: set[str]) -> None:
    entry = placed.entry
    folder = entry.kind == "directory" or (bool(found) and not found[0][1].is_file())
    mode = placed.mode(0o755 if folder and found else 0o700 if folder else 0o600)
    _parents(placed, out, made, mode=_with_x(mode))
    made.add(entry.path)
    uid, gid = placed.uid, placed.gid
    match entry.kind:
        case "directory":
            out.folder(entry.path, mode=mode, uid=uid, gid=gid)
        case "symlink":
            out.owned(entry.path, mode=mode, target=entry.value, uid=uid, gid=gid)
        case "contents":
            data = entry.value.encode("utf-8", "surrogateescape")
            out.owned(entry.path, mode=mode, contents=data, uid=uid, gid=gid)
        case "metadata":
            out.owned(entry.path, mode=mode, contents=metadata(config, entry.value), uid=uid, gid=gid)
        case _ if not folder:
            _copy(found[0][1], entry.path, out, mode=mode, where=entry, uid=uid, gid=gid)
        case _:
            for below, path in found:
                _from_disk(path, f"{entry.path}/{below}".rstrip("/"), placed, out)


def _from_disk(path: Path, name: str, placed: _Placed, out: Output) -> None:
    uid, gid = placed.uid, placed.gid
    if path.is_symlink():
        out.owned(name, mode=0o777, target=str(path.readlink()), uid=uid, gid=gid)
    elif path.is_dir():
        out.folder(name, mode=_with_x(placed.mode(0o755)), uid=uid, gid=gid)
    else:
        # of the host's mode only what git keeps, so that neither umask nor user shows in the image
        own = 0o755 if path.stat().st_mode & 0o100 else 0o644
        _copy(path, name, out, mode=placed.mode(own), where=placed.entry, uid=uid, gid=gid)


def _copy(path: Path, name: str, out: Output, *, mode: int, uid: int, gid: int, where: FileEntry) -> None:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            header = Header(name=name, mode=mode, uid=uid, gid=gid, size=size, mtime=TIME)
            out.raw(header, _exactly(stream, size))
    except OSError as error:
        raise StorageError(
            f"{where.where}: the source {where.value!r} cannot be read: {error.strerror}"
        ) from error


def _exactly(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        data = stream.read(min(_CHUNK, size))
        if not data:
            raise OSError(errno.EIO, "it became shorter while it was read")
        size -= len(data)
        yield data


def _parents(placed: _Placed, out: Output, made: set[str], *, mode: int) -> None:
    """The folders above a file, each once.

    They are like the file, as in LinuxKit. But below a file that says no mode, a folder that is there already
    keeps its own (LinuxKit 1.8 makes /etc 0700), and a symlink always stays one.
    """
    folder = folder_of(placed.entry.path)
    if folder == ".":
        return
    parts = folder.split("/")
    for count in range(1, len(parts) + 1):
        name = "/".join(parts[:count])
        if name in made:
            continue
        made.add(name)
        there = out.folders.get(name)
        if there is not None and there.kind == SYMLINK:
            continue
        own = there.mode if there is not None and placed.entry.mode is None else mode
        out.folder(name, mode=own, uid=placed.uid, gid=placed.gid)


def _with_x(mode: int) -> int:
    return mode | sum(0o1 << shift for shift in (0, 3, 6) if mode >> shift & 0o7)


def _source(entry: FileEntry, base: Path) -> list[tuple[str, Path]]:
    """The files that a source names; empty for an optional one that is missing."""
    found = source_files(_at_home(entry.value, os.environ), base)
    if found or entry.optional:
        return found
    raise NotFoundError(
        f"{entry.where}: the source {entry.value!r} does not exist",
        details=f"it was looked for at {base / _at_home(entry.value, os.environ)}",
        hint="Sources are relative to the current folder; optional: true leaves out what is missing.",
    )


def source_artifacts(config: Config, base: Path) -> list[Artifact]:
    """The files that ``config`` takes from the host, with their digests, each once."""
    found: dict[str, Artifact] = {}
    for entry in config.files:
        for below, path in _source(entry, base) if entry.kind == "source" else []:
            if path.is_file():
                name = f"{entry.value}/{below}" if below and not path.match(entry.value) else entry.value
                with path.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                found[name] = Artifact(name=name, sha256=digest)
    return list(found.values())


def _at_home(source: str, env: Mapping[str, str]) -> str:
    if source.startswith("~/") and len(source) > 2:
        return f"{env.get('HOME') or Path.home()}{source[1:]}"
    return source
