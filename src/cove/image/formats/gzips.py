# SPDX-License-Identifier: Apache-2.0
"""Compress on all processors: one gzip member made of blocks, each with the window of the one before (as pigz).

The bytes do not depend on how many threads there are. Formats: RFC 1951, RFC 1952.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Protocol

BLOCK = 1 << 20
LEVEL = 4
"""As good as makes no difference to the time that a kernel needs to unpack it."""

_WINDOW = 1 << 15
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time, unknown system


class Writable(Protocol):
    """What bytes can be written to."""

    def write(self, data: bytes, /) -> object:
        """Write all of ``data``."""
        ...


class GzipWriter:
    """Compresses what is written; call :meth:`finish` at the end.

    Args:
        out: where to; stays open.
        level: zlib's, 1 to 9.
        threads: how many blocks are compressed at once; by default the number of processors.
    """

    def __init__(self, out: BinaryIO, *, level: int = LEVEL, threads: int | None = None) -> None:
        self._out, self._level = out, level
        count = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(count)
        self._most = count + 2
        self._jobs: deque[Future[bytes]] = deque()
        self._parts: list[bytes] = []
        self._filled = 0
        self._window = b""
        self._crc = self._size = 0
        out.write(_HEADER)

    def write(self, data: bytes) -> None:
        """Compress ``data``."""
        view = memoryview(data)
        while view:
            part = view[: BLOCK - self._filled]
            self._parts.append(bytes(part))
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == BLOCK:
                self._submit(last=False)

    def finish(self) -> None:
        """Compress the rest and write the trailer."""
        self._submit(last=True)
        while self._jobs:
            self._out.write(self._jobs.popleft().result())
        self._out.write(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))
        self._pool.shutdown()

    def abandon(self) -> None:
        """End the threads; what was written is of no use."""
        self._pool.shutdown(cancel_futures=True)

    def _submit(self, *, last: bool) -> None:
        block = b"".join(self._parts)
        self._parts, self._filled = [], 0
        self._crc = zlib.crc32(block, self._crc)
        self._size += len(block)
        self._jobs.append(self._pool.submit(_deflate, block, self._window, self._level, last))
        self._window = block[-_WINDOW:]
        while len(self._jobs) > self._most:
            self._out.write(self._jobs.popleft().result())


def _deflate(block: bytes, window: bytes, level: int, last: bool) -> bytes:
    options: dict[str, bytes] = {"zdict": window} if window else {}
    make: Callable[..., zlib._Compress] = zlib.compressobj
    packer = make(level, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, **options)
    return packer.compress(block) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
