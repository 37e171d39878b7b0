# SPDX-License-Identifier: Apache-2.0
"""Make a tar of what LinuxKit's tar would leave on a disk: each path once, folders before what they hold.

LinuxKit's tars name many paths several times, and of those the last one counts; sqfstar would take the first. What
lies below a symlink goes where the symlink leads, as when it is unpacked. Hard links come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from cove.errors import ArchiveError
from cove.image.entries import MTIME
from cove.image.sinks import TarSink
from cove.image.tar.header import DIRECTORY, LINK, NANO, SYMLINK, Header, clean
from cove.image.tar.reader import read_tar

_XATTR = "SCHILY.xattr."
_MOST_LINKS = 40
_CHUNK = 1 << 20


class _Counting:
    """A stream that knows how far it was read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.at = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.at += len(data)
        return data


@dataclass(frozen=True, slots=True)
class _Found:
    header: Header
    offset: int


def fold_tar(source: Path, into: Path) -> frozenset[str]:
    """Write ``into``, the tar of what ``source`` leaves on a disk.

    Returns:
        all paths in it.

    Raises:
        ArchiveError: symlinks lead in a circle, or a hard link to nowhere.
    """
    with source.open("rb") as stream, into.open("wb") as out:
        places = _places(stream)
        sink = TarSink(out)
        for path, found in _ordered(places):
            header = _plain(path, found.header)
            sink.begin(header)
            stream.seek(found.offset)
            left = header.contents
            while left:
                data = stream.read(min(_CHUNK, left))
                sink.write(data)
                left -= len(data)
        sink.end()
    return frozenset(places)


def _places(stream: BinaryIO) -> dict[str, _Found]:
    counting = _Counting(stream)
    places: dict[str, _Found] = {}
    for header, _ in read_tar(counting):  # type: ignore[arg-type]  # it can read, and that is all that is needed
        path = _real(places, clean(header.name).lstrip("/"))
        if path in ("", "."):
            continue
        here = places.get(path)
        if here is not None and here.header.kind == DIRECTORY != header.kind:
            for below in [one for one in places if one.startswith(f"{path}/")]:
                del places[below]
        if header.kind == LINK:
            target = _real(places, clean(header.link).lstrip("/"))
            if target not in places:
                raise ArchiveError(
                    f"{header.name} is a hard link to {header.link}, which is not in the image"
                )
            header = replace(header, link=target)  # noqa: PLW2901
        places[path] = _Found(header, counting.at)
    for path in list(places):
        _add_parents(places, path)
    return places


def _real(places: dict[str, _Found], path: str) -> str:
    """``path`` with the symlinks in its folders followed; its last part is not followed."""
    folder, _, name = path.rpartition("/")
    done: list[str] = []
    pending = [part for part in folder.split("/") if part][::-1]
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del done[-1:]
            continue
        here = places.get("/".join([*done, part]))
        if here is None or here.header.kind != SYMLINK:
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise ArchiveError(f"{path} goes through a circle of symlinks")
        if here.header.link.startswith("/"):
            done.clear()
        pending.extend([one for one in here.header.link.split("/") if one not in ("", ".")][::-1])
    return "/".join([*done, name])


def _add_parents(places: dict[str, _Found], path: str) -> None:
    """Folders that no layer names are root's."""
    at = path.rfind("/")
    while at > 0:
        folder = path[:at]
        if folder in places:
            return
        places[folder] = _Found(Header(name=folder, kind=DIRECTORY, mode=0o755, mtime=MTIME * NANO), 0)
        at = folder.rfind("/")


def _ordered(places: dict[str, _Found]) -> Iterator[tuple[str, _Found]]:
    paths = sorted(places, key=lambda path: path.split("/"))
    yield from ((path, places[path]) for path in paths if places[path].header.kind != LINK)
    yield from ((path, places[path]) for path in paths if places[path].header.kind == LINK)


def _plain(path: str, header: Header) -> Header:
    """Without what only LinuxKit reads: its marks, names of owners, times of access."""
    kept = {key: value for key, value in header.records.items() if key.startswith(_XATTR)}
    seconds = header.mtime // NANO * NANO
    return replace(
        header, name=path, records=kept, uname="", gname="", mtime=max(seconds, 0), atime=None, ctime=None
    )
