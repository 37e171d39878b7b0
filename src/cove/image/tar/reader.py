# SPDX-License-Identifier: Apache-2.0
"""Read tar archives as streams, as Go's archive/tar does (reader.go): v7, ustar, PAX, GNU, sparse files too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from cove.errors import ArchiveError
from cove.image.tar.header import DIRECTORY, FILE, NANO, Header
from cove.image.tar.sparse import Hole, SparseReader, gnu_extents, pax_extents

BLOCK_SIZE = 512
_CHUNK = 1 << 20
_MOST_RECORDS = 1 << 20
_GNU_SPARSE, _CONTIGUOUS = "S", "7"


class Contents:
    """The contents of the entry that was read last; it is over when the next entry is asked for.

    Args:
        stream: the archive.
        size: bytes.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size
        self.pad = -size % BLOCK_SIZE

    def chunks(self, size: int = _CHUNK) -> Iterator[bytes]:
        """What is left, in pieces of at most ``size`` bytes."""
        while self._left:
            yield self.read(size)

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, b"" at the end.

        Raises:
            ArchiveError: the archive ends before.
        """
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(wanted)
        if len(data) < wanted:
            raise ArchiveError("a tar ends in the middle of a file")
        self._left -= wanted
        return data

    def skip(self) -> None:
        """Go over what is left and the padding."""
        for _ in self.chunks():
            pass
        self._stream.read(self.pad)
        self.pad = 0


class InMemory:
    """Contents that were read already.

    Args:
        data: all of them.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def chunks(self, size: int = _CHUNK) -> Iterator[bytes]:  # noqa: ARG002
        """All at once."""
        yield self._data

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002
        """All at once."""
        return self._data


Data = Contents | SparseReader | InMemory


def read_tar(stream: BinaryIO) -> Iterator[tuple[Header, Data]]:
    """The entries of an archive, in their order.

    Args:
        stream: is read from where it stands to the archive's end, and not beyond.

    Yields:
        each entry, and its contents.

    Raises:
        ArchiveError: it is no tar, or damaged.
    """
    while (found := _entry(stream)) is not None:
        header, data, contents = found
        yield header, data
        contents.skip()


def _entry(stream: BinaryIO) -> tuple[Header, Data, Contents] | None:
    records: dict[str, str] = {}
    while True:
        block = _next_block(stream)
        if block is None:
            return None
        header = _parse(block)
        contents = Contents(stream, header.contents)
        match header.kind:
            case "x":
                records = parse_records(_small(contents))
            case "g":
                _small(contents)  # for all that follow; nobody who makes layers means it
            case "L":
                records["path"] = _text(_small(contents))
            case "K":
                records["linkpath"] = _text(_small(contents))
            case _:
                return _finish(stream, block, header, records)


def _small(contents: Contents) -> bytes:
    data = contents.read(_MOST_RECORDS)
    if contents.read(1):
        raise ArchiveError(f"a tar has a header of more than {_MOST_RECORDS} bytes")
    contents.skip()
    return data


def _finish(
    stream: BinaryIO, block: bytes, header: Header, records: dict[str, str]
) -> tuple[Header, Data, Contents]:
    holes: list[Hole] | None = None
    real = 0
    if header.kind == _GNU_SPARSE:
        holes, real = gnu_extents(block, stream)
    header = merge(header, records)
    contents = Contents(stream, header.contents)
    if header.kind == _GNU_SPARSE:
        header = replace(header, kind=FILE, size=real)
    elif any(key.startswith("GNU.sparse.") for key in records):
        name, size, holes = pax_extents(records, contents, header)
        header = replace(header, name=name, size=size)
    if header.kind in (FILE, "\0", _CONTIGUOUS):
        header = replace(
            header, kind=DIRECTORY if header.name.endswith("/") and header.kind == "\0" else FILE
        )
    data: Data = contents if holes is None else SparseReader(contents.read, holes, header.size)
    return header, data, contents


def merge(header: Header, records: dict[str, str]) -> Header:
    """A header with what PAX records say better; an empty record says nothing."""
    if not records:
        return header
    known: dict[str, object] = {}
    try:
        for key, name in (("path", "name"), ("linkpath", "link"), ("uname", "uname"), ("gname", "gname")):
            if records.get(key):
                known[name] = records[key]
        for key in ("uid", "gid", "size"):
            if records.get(key):
                known[key] = _whole(records[key])
        for key in ("mtime", "atime", "ctime"):
            if records.get(key):
                known[key] = parse_time(records[key])
    except ValueError as error:
        raise ArchiveError("a tar has a PAX record that is none", details=str(error)) from error
    return replace(header, records=records, **known)  # type: ignore[arg-type]


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no number from 0")
    return int(text)


def parse_time(text: str) -> int:
    """A PAX time as nanoseconds since 1970.

    Raises:
        ValueError: it is none.
    """
    seconds, _, rest = text.partition(".")
    whole = int(seconds)
    nanos = int((rest + "0" * 9)[:9]) if rest else 0
    return whole * NANO + (-nanos if seconds.startswith("-") else nanos)


def parse_records(data: bytes) -> dict[str, str]:
    """PAX records, each ``LENGTH KEY=VALUE`` and a newline.

    Raises:
        ArchiveError: they are malformed.
    """
    records: dict[str, str] = {}
    extents: list[str] = []
    while data:
        number, space, _ = data.partition(b" ")
        if not space or not number.isdigit() or not 5 <= (length := int(number)) <= len(data):
            raise ArchiveError("a tar has malformed PAX records")
        line, data = data[len(number) + 1 : length], data[length:]
        key, equals, value = line[:-1].partition(b"=")
        if not equals or line[-1:] != b"\n":
            raise ArchiveError("a tar has malformed PAX records")
        name = key.decode("utf-8", "surrogateescape")
        text = value.decode("utf-8", "surrogateescape")
        if name in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            extents.append(text)
        else:
            records[name] = text
    if extents:
        records["GNU.sparse.map"] = ",".join(extents)
    return records


def _next_block(stream: BinaryIO) -> bytes | None:
    """The next header block; None at the end of the archive: two blocks of zeros, or nothing."""
    block = stream.read(BLOCK_SIZE)
    if not block:
        return None
    if len(block) < BLOCK_SIZE:
        raise ArchiveError("a tar ends in the middle of a header")
    if not block.strip(b"\0"):
        second = stream.read(BLOCK_SIZE)
        if second.strip(b"\0"):
            raise ArchiveError("a tar has a block of zeros in its middle")
        return None
    return block


def _parse(block: bytes) -> Header:
    checksum = _number(block[148:156])
    plain = block[:148] + b"        " + block[156:]
    # some old tars added signed bytes
    if checksum != sum(plain) and checksum != sum(byte - 256 if byte > 127 else byte for byte in plain):
        raise ArchiveError("this is no tar, or it is damaged", details="a header has a wrong checksum")
    magic = block[257:265]
    fields: dict[str, object] = {}
    name = _text(block[0:100])
    if magic[:5] == b"ustar":
        fields = {
            "uname": _text(block[265:297]),
            "gname": _text(block[297:329]),
            "major": _number(block[329:337]),
            "minor": _number(block[337:345]),
        }
        if magic == b"ustar  \0":
            if block[345] and (moment := _number(block[345:357])):
                fields["atime"] = moment * NANO
            if block[357] and (moment := _number(block[357:369])):
                fields["ctime"] = moment * NANO
        elif prefix := _text(block[345:500]):
            name = f"{prefix}/{name}"
    return Header(
        name=name,
        kind=chr(block[156]),
        mode=_number(block[100:108]),
        uid=_number(block[108:116]),
        gid=_number(block[116:124]),
        size=_size(block[124:136]),
        mtime=_number(block[136:148]) * NANO,
        link=_text(block[157:257]),
        **fields,  # type: ignore[arg-type]
    )


def _size(data: bytes) -> int:
    size = _number(data)
    if size < 0:
        raise ArchiveError("a tar has an entry of negative size")
    return size


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number(data: bytes) -> int:
    """An octal number, or GNU's binary one."""
    if data[0] & 0x80:
        value = int.from_bytes(data, "big")
        bits = 8 * len(data)
        return value - (1 << bits) if data[0] & 0x40 else value & ((1 << (bits - 1)) - 1)
    text = data.strip(b" \0").partition(b"\0")[0]
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise ArchiveError(
            "this is no tar, or it is damaged", details="a header has a malformed number"
        ) from error
