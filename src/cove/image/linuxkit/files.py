# SPDX-License-Identifier: Apache-2.0
"""The section ``files``: single files, folders and symlinks that are put over everything else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cove.errors import NotFoundError, StorageError
from cove.image.linuxkit.config import Config, FileEntry
from cove.image.linuxkit.metadata import metadata
from cove.image.linuxkit.output import Output
from cove.image.linuxkit.settings import numeric_id
from cove.image.tar.header import SYMLINK, folder_of

_SOURCE = "linuxkit.files"


def add_files(config: Config, out: Output, base: Path) -> None:
    """Put the files of ``config`` there.

    Args:
        config: the whole of it: ``metadata`` writes it into the image.
        out: where to.
        base: the folder that sources are relative to.

    Raises:
        NotFoundError: a source is missing.
        StorageError: it cannot be read.
    """
    ids = config.ids
    made: set[str] = set()
    for index, entry in enumerate(config.files):
        contents = _contents(entry, config, base)
        if contents is None:
            continue
        here = out.at(_SOURCE, f"files[{index}]")
        mode = entry.mode if entry.mode is not None else 0o700 if entry.kind == "directory" else 0o600
        uid, gid = numeric_id(entry.uid, ids), numeric_id(entry.gid, ids)
        _parents(entry.path, here, made, mode=_with_x(mode), uid=uid, gid=gid)
        made.add(entry.path)
        if entry.kind == "directory":
            here.folder(entry.path, mode=mode, uid=uid, gid=gid)
        elif entry.kind == "symlink":
            here.owned(entry.path, mode=mode, uid=uid, gid=gid, target=entry.value)
        else:
            here.owned(entry.path, mode=mode, uid=uid, gid=gid, contents=contents)


def _parents(path: str, out: Output, made: set[str], *, mode: int, uid: int, gid: int) -> None:
    """The folders above a file, each once.

    They are like the file, as in LinuxKit; but a folder that is there already keeps its mode and owner, and a
    symlink stays one. (LinuxKit 1.8 makes /etc 0700 for a file below it that has no mode.)
    """
    folder = folder_of(path)
    if folder == ".":
        return
    parts = folder.split("/")
    for count in range(1, len(parts) + 1):
        name = "/".join(parts[:count])
        if name in made:
            continue
        made.add(name)
        there = out.folders.get(name)
        if there is None:
            out.folder(name, mode=mode, uid=uid, gid=gid)
        elif there.kind != SYMLINK:
            out.folder(name, mode=there.mode, uid=there.uid, gid=there.gid)


def _with_x(mode: int) -> int:
    return mode | sum(0o1 << shift for shift in (0, 3, 6) if mode >> shift & 0o7)


def _contents(entry: FileEntry, config: Config, base: Path) -> bytes | None:
    match entry.kind:
        case "source":
            return _read(entry, base)
        case "metadata":
            return metadata(config, entry.value)
        case "contents":
            return entry.value.encode("utf-8", "surrogateescape")
        case _:
            return b""


def _read(entry: FileEntry, base: Path) -> bytes | None:
    path = base / _at_home(entry.value, os.environ)
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if entry.optional:
            return None
        raise NotFoundError(
            f"{entry.where}: the source {entry.value!r} does not exist",
            details=f"it was looked for at {path}",
            hint="Sources are relative to the current folder; optional: true leaves out what is missing.",
        ) from error
    except OSError as error:
        if entry.optional:
            return None
        raise StorageError(
            f"{entry.where}: the source {entry.value!r} cannot be read: {error.strerror}"
        ) from error


def _at_home(source: str, env: Mapping[str, str]) -> str:
    if source.startswith("~/") and len(source) > 2:
        return f"{env.get('HOME') or Path.home()}{source[1:]}"
    return source
