# SPDX-License-Identifier: Apache-2.0
"""Sparse files in tar archives, read as what they stand for. Format: "Storing Sparse Files" of GNU tar's manual."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, Protocol

from cove.errors import ArchiveError
from cove.image.tar.header import Header

Hole = tuple[int, int]
"""An extent that holds data: offset and length."""

_CHUNK = 1 << 20
_BLOCK = 512
_MOST_EXTENTS = 1 << 20


class _Readable(Protocol):
    def read(self, size: int = -1) -> bytes: ...


class SparseReader:
    """The contents of a sparse file, holes as zeros.

    Args:
        read: gives the stored bytes.
        extents: where they belong.
        size: of the whole.
    """

    def __init__(self, read: Callable[[int], bytes], extents: Sequence[Hole], size: int) -> None:
        end = 0
        for offset, length in extents:
            if offset < end or length < 0 or offset + length > size:
                raise ArchiveError("a tar has a sparse file whose map makes no sense")
            end = offset + length
        self._read, self._extents, self._size = read, extents, size

    def chunks(self, size: int = _CHUNK) -> Iterator[bytes]:
        """The contents in pieces of at most ``size`` bytes."""
        at = 0
        for offset, length in [*self._extents, (self._size, 0)]:
            while at < offset:
                count = min(size, offset - at)
                at += count
                yield bytes(count)
            end = at + length
            while at < end:
                data = self._read(min(size, end - at))
                if not data:
                    raise ArchiveError("a tar has a sparse file with too few bytes")
                at += len(data)
                yield data

    def read(self, size: int = -1) -> bytes:
        """All of it; for small files only.

        Raises:
            ArchiveError: a part was asked for.
        """
        if size >= 0:
            raise ArchiveError("a sparse file can only be read whole")
        return b"".join(self.chunks())


def gnu_extents(block: bytes, stream: BinaryIO) -> tuple[list[Hole], int]:
    """The map of a file of GNU's own type S: in the header, and in blocks that follow it.

    Returns:
        extents and real size.
    """
    extents = list(_pairs(block[386:482]))
    more = block[482]
    while more:
        extra = stream.read(_BLOCK)
        if len(extra) < _BLOCK or len(extents) > _MOST_EXTENTS:
            raise ArchiveError("a tar has a sparse file with a broken map")
        extents += _pairs(extra[:504])
        more = extra[504]
    return extents, _octal(block[483:495])


def _pairs(data: bytes) -> Iterator[Hole]:
    for at in range(0, len(data) - 23, 24):
        if data[at] == 0:
            return
        yield _octal(data[at : at + 12]), _octal(data[at + 12 : at + 24])


def _octal(data: bytes) -> int:
    if data[0] & 0x80:
        return int.from_bytes(data[1:], "big")
    try:
        return int(data.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise ArchiveError("a tar has a sparse file with a broken map") from error


def pax_extents(
    records: Mapping[str, str], contents: _Readable, header: Header
) -> tuple[str, int, list[Hole] | None]:
    """The map of a file in one of the PAX forms 0.0, 0.1 and 1.0.

    Returns:
        real name, real size and extents; None when it is not in a form that is known.
    """
    try:
        name = records.get("GNU.sparse.name", header.name)
        size = int(records.get("GNU.sparse.realsize") or records.get("GNU.sparse.size") or header.size)
        if (records.get("GNU.sparse.major"), records.get("GNU.sparse.minor")) == ("1", "0"):
            return name, size, list(_map_in_front(contents))
        if "GNU.sparse.map" in records:
            numbers = [int(text) for text in records["GNU.sparse.map"].split(",") if text]
            return name, size, list(zip(numbers[::2], numbers[1::2], strict=True))
    except ValueError as error:
        raise ArchiveError("a tar has a sparse file with a broken map") from error
    return name, size, None


def _map_in_front(contents: _Readable) -> Iterator[Hole]:
    data = b""

    def number() -> int:
        nonlocal data
        while b"\n" not in data:
            block = contents.read(_BLOCK)
            if not block:
                raise ArchiveError("a tar has a sparse file with a broken map")
            data += block
        line, _, data = data.partition(b"\n")
        return int(line)

    count = number()
    if count > _MOST_EXTENTS:
        raise ArchiveError("a tar has a sparse file with a broken map")
    for _ in range(count):
        yield number(), number()
