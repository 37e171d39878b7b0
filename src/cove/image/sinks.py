# SPDX-License-Identifier: Apache-2.0
"""Where the files of an image go while it is built. Nothing of them is kept in memory."""

from __future__ import annotations

from typing import BinaryIO, Protocol

from cove.image.tar.header import Header
from cove.image.tar.writer import END, pack, padding


class Sink(Protocol):
    """Takes the files of an image, one after the other."""

    def begin(self, header: Header) -> None:
        """A file begins; exactly ``header.contents`` bytes follow by :meth:`write`."""
        ...

    def write(self, data: bytes) -> None:
        """Some bytes of the file that began last."""
        ...

    def end(self) -> None:
        """No more files come."""
        ...


class TarSink:
    """Writes a tar as LinuxKit does.

    Args:
        out: where to; stays open.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._pad = b""

    def begin(self, header: Header) -> None:
        """The header."""
        self._out.write(self._pad + pack(header))
        self._pad = padding(header.contents)

    def write(self, data: bytes) -> None:
        """Contents."""
        self._out.write(data)

    def end(self) -> None:
        """The end of the archive."""
        self._out.write(self._pad + END)
