# SPDX-License-Identifier: Apache-2.0
"""The files of an image as an initramfs, as LinuxKit makes it (initrd.go).

Format: newc, see Documentation/driver-api/early-userspace/buffer-format.rst of Linux. Hard links become relative
symlinks and extended attributes are lost, as in LinuxKit: the archive is identical to its.
"""

from __future__ import annotations

from cove.errors import ArchiveError
from cove.image.formats.gzips import Writable
from cove.image.tar.header import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    LINK,
    NANO,
    SYMLINK,
    Header,
    folder_of,
    relative,
)

_KINDS = {FILE: 0o10, SYMLINK: 0o12, LINK: 0o12, CHARACTER: 0o02, BLOCK: 0o06, DIRECTORY: 0o04, FIFO: 0o01}
_FIRST_INODE = 721
_BLOCK = 512


class InitrdSink:
    """Writes the archive, uncompressed, into ``out``.

    Args:
        out: where to; stays open.
    """

    def __init__(self, out: Writable) -> None:
        self._out = out
        self._inode = _FIRST_INODE
        self._written = 0
        self._pad = b""

    def begin(self, header: Header) -> None:
        """A header, and the target of a symlink."""
        kind = _KINDS.get(header.kind)
        if kind is None:
            raise ArchiveError(
                f"{header.name!r} cannot be in an initramfs", details=f"its type is {header.kind!r}"
            )
        link = header.link
        if header.kind == LINK:
            link = relative(folder_of(header.name), link)
        body = link.encode("utf-8", "surrogateescape") if header.kind in (LINK, SYMLINK) else b""
        size = len(body) or header.contents
        self._record(header, kind, size)
        if body:
            self._put(body)
            self._put(bytes(-self._written % 4))
        self._pad = bytes(-(self._written + header.contents) % 4)
        if not header.contents:
            self._close()

    def write(self, data: bytes) -> None:
        """Contents."""
        self._put(data)

    def end(self) -> None:
        """The trailer."""
        self._close()
        trailer = Header(name="TRAILER!!!", kind=FILE, mode=0, mtime=0)
        self._record(trailer, 0, 0)
        self._put(bytes(-self._written % _BLOCK))

    def _close(self) -> None:
        self._put(self._pad)
        self._pad = b""

    def _record(self, header: Header, kind: int, size: int) -> None:
        self._close()
        name = header.name.encode("utf-8", "surrogateescape") + b"\0"
        fields = (
            self._inode, header.mode & 0xFFF | kind << 12, header.uid, header.gid, 2 if kind == 0o04 else 1,
            header.mtime // NANO, size, 3, 1, header.major, header.minor, len(name), 0,
        )  # fmt: skip
        self._inode += 1
        self._put(b"070701" + b"".join(b"%08x" % (value & 0xFFFFFFFF) for value in fields) + name)
        self._put(bytes(-self._written % 4))

    def _put(self, data: bytes) -> None:
        self._written += len(data)
        self._out.write(data)
