# SPDX-License-Identifier: Apache-2.0
"""Blobs as streams: checked against their digest while they are read, and decompressed.

Compression is told by the first bytes, not by the media type: what is in the wild is labelled wrongly often
enough that everyone does so. Formats: RFC 1952 (gzip, several members too), RFC 8878 (zstd).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from isal import isal_zlib

from cove.errors import ArchiveError, IntegrityError
from cove.image.oci.model import Blobs, Descriptor

BUFFER = 1 << 20
"""Bytes that are read, decompressed and hashed at a time."""

_BAD_DATA = cast("type[Exception]", isal_zlib.error)  # its type says that it is an exception, not a class
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


def read_blob(blobs: Blobs, descriptor: Descriptor, *, limit: int = 16 << 20) -> bytes:
    """A small blob, whole and checked: an index, a manifest or a configuration.

    Args:
        blobs: where it lies.
        descriptor: which.
        limit: bytes it may have at most; manifests are small, and memory is not for sale.

    Raises:
        NotFoundError: it is not there.
        ArchiveError: it claims to be larger than ``limit``.
        IntegrityError: its size or digest is another.
    """
    if descriptor.size > limit:
        raise ArchiveError(f"{descriptor.digest} has {descriptor.size} bytes, at most {limit} are expected")
    with blobs.open(descriptor) as raw:
        return b"".join(_Checked(raw, descriptor).chunks())


def blob_chunks(blobs: Blobs, descriptor: Descriptor) -> Iterator[bytes]:
    """A blob as it is stored, in pieces.

    Raises:
        NotFoundError: it is not there.
        IntegrityError: its size or digest is another; told at the end.
    """
    with blobs.open(descriptor) as raw:
        yield from _Checked(raw, descriptor).chunks()


@contextmanager
def layer_stream(blobs: Blobs, descriptor: Descriptor) -> Iterator[BinaryIO]:
    """A layer's tar, decompressed.

    When the block is left without an error the rest is read and the digest was right.

    Raises:
        NotFoundError: it is not there.
        IntegrityError: its size or digest is another.
        ArchiveError: its digest is right, but it cannot be decompressed.
    """
    with blobs.open(descriptor) as raw:
        checked = _Checked(raw, descriptor)
        stream = io.BufferedReader(_Chunks(_told(checked)), BUFFER)
        yield stream
        while stream.read(BUFFER):
            pass
        checked.drain()


class _Checked:
    """The bytes of a blob in chunks; the end is reached only if size and digest are right."""

    def __init__(self, raw: BinaryIO, descriptor: Descriptor) -> None:
        self._raw = raw
        self._descriptor = descriptor
        algorithm, _, self._wanted = descriptor.digest.partition(":")
        if algorithm not in ("sha256", "sha512"):
            raise ArchiveError(f"{descriptor.digest} uses a digest that is not known here")
        self._hash: Any = hashlib.new(algorithm)
        self._size = 0

    def chunks(self) -> Iterator[bytes]:
        """All chunks; checks at the end.

        Raises:
            IntegrityError: size or digest is another.
        """
        while chunk := self._raw.read(BUFFER):
            self._hash.update(chunk)
            self._size += len(chunk)
            if self._size > self._descriptor.size:
                break
            yield chunk
        self._check()

    def drain(self) -> None:
        """Read what is left, for the check."""
        for _ in self.chunks():
            pass

    def _check(self) -> None:
        found = self._hash.hexdigest()
        if (self._size, found) != (self._descriptor.size, self._wanted):
            raise IntegrityError(
                self._descriptor.digest,
                expected=f"{self._wanted}, {self._descriptor.size} bytes",
                found=f"{found}, {self._size} bytes" if self._size <= self._descriptor.size else "more bytes",
                message=f"the blob {self._descriptor.digest} is damaged",
                hint="Get the image anew: pull it again, or export it again where it came from.",
            )


class _Chunks(io.RawIOBase):
    """A raw stream of what an iterator yields."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with what is there; 0 at the end."""
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _told(checked: _Checked) -> Iterator[bytes]:
    try:
        yield from decompressed(checked.chunks())
    except ArchiveError:
        checked.drain()  # a wrong digest says it better
        raise


def decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The contents of gzip, zstd or plain data.

    Raises:
        ArchiveError: the data cannot be decompressed.
    """
    first = next(chunks, b"")
    while 0 < len(first) < len(_ZSTD):
        more = next(chunks, b"")
        if not more:
            break
        first += more
    if first.startswith(_GZIP):
        yield from _inflated(first, chunks)
    elif first.startswith(_ZSTD):
        yield from _unzstd(first, chunks)
    else:
        yield first
        yield from chunks


def _inflated(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(wbits=31)
    data = first
    try:
        while data or (data := next(chunks, b"")):
            if inflater.eof:
                if not data.strip(b"\0"):  # padding after the last member, as gzip(1) takes it
                    data = b""
                    continue
                inflater = isal_zlib.decompressobj(wbits=31)
            yield inflater.decompress(data, BUFFER)
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        while not inflater.eof:
            rest = inflater.decompress(inflater.unconsumed_tail, BUFFER)
            if not rest:
                break
            yield rest
    except _BAD_DATA as error:
        raise _damaged(str(error)) from error
    if not inflater.eof:
        raise _damaged("the data end too early")


def _unzstd(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    def whole() -> Iterator[bytes]:
        yield first
        yield from chunks

    source: Any = io.BufferedReader(_Chunks(whole()), BUFFER)
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
        source, read_across_frames=True
    )
    try:
        while chunk := reader.read(BUFFER):
            yield chunk
    except zstandard.ZstdError as error:
        raise _damaged(str(error)) from error


def _damaged(why: str) -> ArchiveError:
    return ArchiveError("a layer cannot be decompressed", details=why)
