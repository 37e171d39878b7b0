# SPDX-License-Identifier: Apache-2.0
"""Write tar headers in PAX format exactly as Go's archive/tar does (writer.go, format.go, strconv.go). Pure."""

from __future__ import annotations

from cove.errors import ArchiveError
from cove.image.tar.header import FILE, NANO, Header, clean

BLOCK_SIZE = 512
END = bytes(2 * BLOCK_SIZE)
"""What ends an archive."""

_NAME = 100
_OWNER = 32
_BASIC = frozenset(("path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime"))
_SPARSE = "GNU.sparse."
_MAGIC = b"ustar\x0000"
_MOST_RECORDS = 1 << 20


def padding(size: int) -> bytes:
    """What follows ``size`` bytes of contents."""
    return bytes(-size % BLOCK_SIZE)


def pack(header: Header) -> bytes:
    """The blocks before an entry's contents.

    Raises:
        ArchiveError: the entry cannot be written as a tar.
    """
    records = _records(header)
    main = _block(header)
    if not records:
        return main
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    if len(data) > _MOST_RECORDS:
        raise ArchiveError(f"{header.name!r} has more than {_MOST_RECORDS} bytes of extended attributes")
    return _extended(header.name, len(data)) + data + padding(len(data)) + main


def _records(header: Header) -> dict[str, str]:
    """The PAX records that are needed, or were there and still say the truth."""
    out = _texts(header) | _numbers(header)
    for key, moment in (("atime", header.atime), ("ctime", header.ctime)):
        if moment is not None:
            out[key] = format_time(moment)
    kept = {k: v for k, v in header.records.items() if k not in _BASIC and not k.startswith(_SPARSE)}
    return out | kept


def _texts(header: Header) -> dict[str, str]:
    out: dict[str, str] = {}
    given = header.records
    for key, text, limit in (
        ("path", header.name, _NAME),
        ("linkpath", header.link, _NAME),
        ("uname", header.uname, _OWNER),
        ("gname", header.gname, _OWNER),
    ):
        if not text.isascii() or len(text) > limit or (given and given.get(key) == text and text):
            if "\0" in text:
                raise ArchiveError(f"{header.name!r} has a name with a NUL in it")
            out[key] = text
    return out


def _numbers(header: Header) -> dict[str, str]:
    out: dict[str, str] = {}
    given = header.records
    for key, number, bits in (("uid", header.uid, 21), ("gid", header.gid, 21), ("size", header.size, 33)):
        if not 0 <= number < 1 << bits or (given and given.get(key) == str(number)):
            out[key] = str(number)
    mtime = format_time(header.mtime)
    if header.mtime % NANO or not 0 <= header.mtime < NANO << 33 or (given and given.get("mtime") == mtime):
        out["mtime"] = mtime
    return out


def format_time(moment: int) -> str:
    """Nanoseconds since 1970 as a PAX record has them: seconds, with as many decimals as needed."""
    seconds, rest = divmod(abs(moment), NANO)
    sign = "-" if moment < 0 else ""
    return f"{sign}{seconds}" if not rest else f"{sign}{seconds}.{rest:09d}".rstrip("0")


def _record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode("utf-8", "surrogateescape")
    size = len(body)
    total = size + len(str(size))
    total = size + len(str(total))
    return str(total).encode() + body


def _extended(name: str, size: int) -> bytes:
    folder, slash, base = name.rpartition("/")
    text = clean("/".join(part for part in (folder + slash, "PaxHeaders.0", base) if part))
    plain = _ascii(text)[:_NAME].rstrip(b"/")
    block = bytearray(BLOCK_SIZE)
    block[: len(plain)] = plain
    block[100:148] = b"0000000\0" * 3 + b"%011o\0" % size + b"00000000000\0"
    block[156:157] = b"x"
    return _signed(block)


def _block(header: Header) -> bytes:
    block = bytearray(BLOCK_SIZE)
    _put(block, 0, _NAME, header.name)
    block[100:148] = b"%s%s%s%s%s" % (
        _octal(header.mode, 8),
        _octal(header.uid, 8),
        _octal(header.gid, 8),
        _octal(header.size, 12),
        _octal(header.mtime // NANO, 12),
    )
    block[156:157] = (header.kind if header.kind != "\0" else FILE).encode()
    _put(block, 157, _NAME, header.link)
    if header.uname:
        _put(block, 265, _OWNER, header.uname)
    if header.gname:
        _put(block, 297, _OWNER, header.gname)
    block[329:345] = _octal(header.major, 8) + _octal(header.minor, 8)
    return _signed(block)


def _put(block: bytearray, start: int, room: int, text: str) -> None:
    plain = _ascii(text)
    block[start : start + room] = plain[:room].ljust(room, b"\0")
    if len(plain) > room and plain[room - 1 : room] == b"/":
        # Go: a slash at the cut would make readers take it for a folder
        block[start + len(plain[: room - 1].rstrip(b"/"))] = 0


def _ascii(text: str) -> bytes:
    if text.isascii() and "\0" not in text:
        return text.encode()
    return "".join(letter for letter in text if "\0" < letter < "\x80").encode()


def _octal(number: int, room: int) -> bytes:
    if not 0 <= number < 1 << (3 * (room - 1)):
        number = 0
    return b"%0*o\0" % (room - 1, number)


def _signed(block: bytearray) -> bytes:
    block[257:265] = _MAGIC
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
