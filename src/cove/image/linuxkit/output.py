# SPDX-License-Identifier: Apache-2.0
"""Puts generated files and files of images into a sink, each marked with where it comes from.

The marks are LinuxKit's PAX records: the image (or ``linuxkit.files`` and the like), and the place in the YAML.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cove.image.entries import MTIME
from cove.image.sinks import Sink
from cove.image.tar.header import DIRECTORY, FILE, NANO, SYMLINK, Header
from cove.image.tar.reader import Data

SOURCE = "LINUXKIT.source"
LOCATION = "LINUXKIT.location"
TIME = MTIME * NANO
"""The time of everything generated, in nanoseconds."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A database of a package manager that came by.

    Args:
        source: the image that it is in.
        path: its path there.
        data: its contents.
    """

    source: str
    path: str
    data: bytes


class Output:
    """The files of one section of the YAML on their way into a sink.

    Args:
        sink: where they go.
        folders: what stands at each path that is a folder or a symlink; shared by all sections.
        databases: those of package managers in images that came by; shared by all sections.
        source: the image, or what else they come from.
        location: the place in the YAML: "init[0]".
    """

    def __init__(
        self,
        sink: Sink,
        folders: dict[str, Header] | None = None,
        databases: list[Seen] | None = None,
        *,
        source: str = "",
        location: str = "",
    ) -> None:
        self._sink = sink
        self.folders = {} if folders is None else folders
        self.databases = [] if databases is None else databases
        self.source = source
        self._marks = {SOURCE: source, LOCATION: location}

    def at(self, source: str, location: str) -> Output:
        """The same sink, for what comes from elsewhere."""
        return Output(self._sink, self.folders, self.databases, source=source, location=location)

    def copy(self, header: Header, data: Data) -> None:
        """A file of an image, and its contents."""
        self._begin(header)
        if header.contents:
            for chunk in data.chunks():
                self._sink.write(chunk)

    def raw(self, header: Header, chunks: Iterable[bytes] = ()) -> None:
        """A file whose header is as it is to be."""
        self._begin(header)
        for chunk in chunks:
            self._sink.write(chunk)

    def timeless(self, name: str, contents: bytes) -> None:
        """A generated file that has no time."""
        self.raw(Header(name=name, size=len(contents)), [contents])

    def file(self, name: str, contents: bytes, *, like: Header | None = None, mode: int = 0o644) -> None:
        """A generated file; what ``like`` says otherwise (owner, mode, records) stays."""
        base = like or Header(name=name, mode=mode)
        self._begin(replace(base, name=name, kind=FILE, size=len(contents), mtime=TIME))
        if contents:
            self._sink.write(contents)

    def folder(self, name: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """A generated folder."""
        self._begin(Header(name=name, kind=DIRECTORY, mode=mode, uid=uid, gid=gid, mtime=TIME))

    def symlink(self, name: str, target: str, *, like: Header | None = None, mode: int = 0o777) -> None:
        """A generated symlink."""
        base = like or Header(name=name, mode=mode)
        self._begin(replace(base, name=name, kind=SYMLINK, link=target, size=0, mtime=TIME))

    def owned(
        self, name: str, *, mode: int, uid: int, gid: int, contents: bytes | None = None, target: str = ""
    ) -> None:
        """A generated file, or a symlink when it has no contents, with an owner."""
        like = Header(name=name, mode=mode, uid=uid, gid=gid)
        if contents is None:
            self.symlink(name, target, like=like)
        else:
            self.file(name, contents, like=like)

    def like_folder(self, name: str, header: Header) -> None:
        """A generated folder with the records of ``header``."""
        self._begin(Header(name=name, kind=DIRECTORY, mode=0o755, mtime=TIME, records=header.records))

    def parents(self, path: str) -> None:
        """The folder ``path`` and those above it."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            self.folder("/".join(parts[:count]))

    def _begin(self, header: Header) -> None:
        marked = replace(header, records={**header.records, **self._marks})
        path = header.name.rstrip("/")
        if header.kind in (DIRECTORY, SYMLINK):
            self.folders[path] = marked
        elif path in self.folders:
            del self.folders[path]
        self._sink.begin(marked)
