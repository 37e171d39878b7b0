# SPDX-License-Identifier: Apache-2.0
"""What an image consists of: entries with a path, owner, mode and contents. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

MTIME = 1492533000
"""The time of everything generated: 2017-04-18T16:30:00Z, as LinuxKit has it."""


class EntryKind(Enum):
    """What an entry is."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Contents that lie in a file on the disk, from ``offset`` on."""

    file: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The contents, whole: for small files and kernel modules."""
        with self.file.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One path of an image.

    Args:
        path: relative, without "." parts.
        kind: what it is.
        mode: permission bits, with set-id and sticky bits.
        uid: owner.
        gid: group.
        mtime: seconds since 1970.
        target: of a symlink, as it is written.
        contents: of a file.
        inode: files with the same inode, unless "", are hard links of each other.
        origin: the package, recipe line or "generated", for messages.
    """

    path: str
    kind: EntryKind
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = MTIME
    target: str = ""
    contents: bytes | Piece = b""
    inode: str = ""
    origin: str = "generated"

    @property
    def size(self) -> int:
        """Bytes of the contents."""
        return self.contents.size if isinstance(self.contents, Piece) else len(self.contents)

    def read(self) -> bytes:
        """The contents, whole."""
        return self.contents.read() if isinstance(self.contents, Piece) else self.contents


def directory(path: str, mode: int = 0o755) -> Entry:
    """A generated folder."""
    return Entry(path=path, kind=EntryKind.DIRECTORY, mode=mode)


def symlink(path: str, target: str) -> Entry:
    """A generated symlink."""
    return Entry(path=path, kind=EntryKind.SYMLINK, mode=0o777, target=target)


def file(path: str, contents: bytes | str, mode: int = 0o644) -> Entry:
    """A generated file."""
    data = contents.encode() if isinstance(contents, str) else contents
    return Entry(path=path, kind=EntryKind.FILE, mode=mode, contents=data)
