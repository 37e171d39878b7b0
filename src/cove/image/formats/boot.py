# SPDX-License-Identifier: Apache-2.0
"""Split kernel, command line and microcode off from the files of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import BinaryIO

from cove.image.sinks import Sink
from cove.image.tar.header import Header

KERNEL, CMDLINE, UCODE = "boot/kernel", "boot/cmdline", "boot/ucode.cpio"
_BOOT = "boot/"


class BootSplitter:
    """Sends what lies in /boot into files of their own, or nowhere, and everything else on.

    Args:
        files: where each of :data:`KERNEL`, :data:`CMDLINE`, :data:`UCODE` goes; seekable.
        rest: take everything else.
    """

    def __init__(self, files: Mapping[str, BinaryIO], rest: Sequence[Sink]) -> None:
        self._files, self._rest = files, rest
        self._current: BinaryIO | None = None
        self._inside = False

    def begin(self, header: Header) -> None:
        """A file begins."""
        self._inside = header.name.startswith(_BOOT)
        self._current = self._files.get(header.name) if self._inside else None
        if self._current is not None:
            # of two with the same name the last one counts
            self._current.seek(0)
            self._current.truncate()
        if not self._inside:
            for sink in self._rest:
                sink.begin(header)

    def write(self, data: bytes) -> None:
        """Some of its bytes."""
        if self._current is not None:
            self._current.write(data)
        if not self._inside:
            for sink in self._rest:
                sink.write(data)

    def end(self) -> None:
        """No more files come."""
        for sink in self._rest:
            sink.end()
