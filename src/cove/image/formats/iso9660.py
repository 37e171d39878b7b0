# SPDX-License-Identifier: Apache-2.0
"""An ISO 9660 image with files in its root folder and something to boot, the same for the same files.

Formats: ECMA-119 (level 1 names); the El Torito specification 1.0; the boot information table and the hybrid record
of isolinux (its documentation, doc/isolinux.txt and utils/isohybrid). Every file is in one piece.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cove.errors import UsageError

SECTOR = 2048
_VOLUME, _BOOT_RECORD, _TERMINATOR, _TABLE, _TABLE_BIG, _ROOT, _CATALOG, _FIRST = range(16, 24)
_DATE = bytes((117, 4, 18, 16, 30, 0, 0))
_LONG_DATE = b"2017041816300000\0"
_END = b"\xffCD001\x01".ljust(SECTOR, b"\0")
_NO_DATE = b"0" * 16 + b"\0"
_PATH_TABLE = 10
_COPY = 1 << 20
_MOST = (1 << 32) - SECTOR
"""Bytes that a file can have."""

Contents = Path | bytes


@dataclass(frozen=True, kw_only=True)
class Boot:
    """What an ISO is booted by.

    Args:
        file: its name; a program for a BIOS, or an image of a FAT file system for UEFI.
        uefi: which of the two.
        hybrid: a record for a BIOS to find when the ISO lies on a disk; b"" for none.
    """

    file: str
    uefi: bool
    hybrid: bytes = b""


def write_iso(out: BinaryIO, files: Mapping[str, Contents], *, label: str, boot: Boot | None = None) -> None:
    """Write the image.

    Args:
        out: seekable.
        files: contents by name, upper case with at most eight and three characters ("LDLINUX.C32").
        label: of the volume.
        boot: what of them is booted; None for nothing.

    Raises:
        UsageError: a file is larger than an ISO can hold (4 GiB).
    """
    sizes = {name: _size(one) for name, one in files.items()}
    for name, size in sizes.items():
        if size > _MOST:
            raise UsageError(f"{name} has {size} bytes, more than a file on an ISO can have")
    places: dict[str, int] = {}
    place = _FIRST
    for name in sorted(files):
        places[name] = place
        place += max(1, _sectors(sizes[name]))
    for at, data in (
        (_VOLUME, _volume(label, place)),
        (_BOOT_RECORD, _boot_record() if boot else _END),
        (_TERMINATOR, _END),
        (_TABLE, _path_table("<")),
        (_TABLE_BIG, _path_table(">")),
        (_ROOT, _folder(places, sizes)),
        (_CATALOG, _catalog(boot, places[boot.file]) if boot else b""),
    ):
        out.seek(at * SECTOR)
        out.write(data)
    for name in sorted(files):
        out.seek(places[name] * SECTOR)
        _copy(files[name], out)
    out.seek(place * SECTOR - 1)
    out.write(b"\0")
    if boot is None:
        return
    if not boot.uefi:
        _tell_where(out, places[boot.file], sizes[boot.file], files[boot.file])
    if boot.hybrid:
        _make_hybrid(out, boot.hybrid, places[boot.file], place)


def _volume(label: str, sectors: int) -> bytes:
    """The primary volume descriptor (8.4)."""
    parts = (
        b"\x01CD001\x01\0", b" " * 32, label.upper().ljust(32).encode(), bytes(8), _both32(sectors), bytes(32),
        _both16(1), _both16(1), _both16(SECTOR), _both32(_PATH_TABLE),
        struct.pack("<II", _TABLE, 0), struct.pack(">II", _TABLE_BIG, 0), _record(b"\0", _ROOT, SECTOR, folder=True),
        b" " * 128 * 4, b" " * 37 * 3, _LONG_DATE * 2, _NO_DATE * 2, b"\x01",
    )  # fmt: skip
    return b"".join(parts).ljust(SECTOR, b"\0")


def _boot_record() -> bytes:
    return (b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", _CATALOG)).ljust(
        SECTOR, b"\0"
    )


def _path_table(order: str) -> bytes:
    return struct.pack(f"{order}BBIH2s", 1, 0, _ROOT, 1, b"").ljust(SECTOR, b"\0")


def _folder(places: Mapping[str, int], sizes: Mapping[str, int]) -> bytes:
    records = [_record(name, _ROOT, SECTOR, folder=True) for name in (b"\0", b"\1")]
    records += [_record(f"{name};1".encode(), places[name], sizes[name]) for name in sorted(places)]
    return b"".join(records).ljust(SECTOR, b"\0")


def _record(name: bytes, place: int, size: int, *, folder: bool = False) -> bytes:
    """A directory record (9.1)."""
    padded = name + (b"" if len(name) % 2 else b"\0")
    flags = 2 if folder else 0
    return (
        bytes((33 + len(padded), 0)) + _both32(place) + _both32(size) + _DATE + bytes((flags, 0, 0)) + _both16(1)
        + bytes((len(name),)) + padded
    )  # fmt: skip


def _catalog(boot: Boot, place: int) -> bytes:
    """The boot catalog: who it is for, and what is loaded."""
    platform = 0xEF if boot.uefi else 0
    validation = struct.pack("<BBH24sH2s", 1, platform, 0, b"", 0, b"\x55\xaa")
    total = sum(struct.unpack("<16H", validation)) & 0xFFFF
    validation = struct.pack("<BBH24sH2s", 1, platform, 0, b"", -total & 0xFFFF, b"\x55\xaa")
    # four sectors of isolinux, which loads the rest of itself; 0 is all there is, for a file system of any size
    entry = struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 0 if boot.uefi else 4, place)
    return (validation + entry).ljust(SECTOR, b"\0")


def _tell_where(out: BinaryIO, place: int, size: int, contents: Contents) -> None:
    """The boot information table: isolinux reads in itself where it lies."""
    data = contents.read_bytes() if isinstance(contents, Path) else contents
    padded = data[64:] + bytes(-len(data) % 4)
    total = sum(struct.unpack(f"<{len(padded) // 4}I", padded)) & 0xFFFFFFFF
    out.seek(place * SECTOR + 8)
    out.write(struct.pack("<IIII40x", 16, place, size, total))


def _make_hybrid(out: BinaryIO, record: bytes, place: int, sectors: int) -> None:
    """A master boot record that loads isolinux from a disk, with the whole ISO as its partition."""
    cylinders = -(-sectors * 4 // (64 * 32))
    total = cylinders * 64 * 32
    out.seek(0)
    out.write(record[:432])
    out.write(struct.pack("<QI2x", place * 4, 0x434F5645))
    last = min(cylinders, 1024) - 1
    out.write(
        struct.pack(
            "<B3sB3sII",
            0x80,
            b"\x00\x01\x00",
            0x17,
            bytes((63, 32 | last >> 2 & 0xC0, last & 0xFF)),
            0,
            total,
        )
    )
    out.write(bytes(48) + b"\x55\xaa")
    out.seek(total * 512 - 1)
    out.write(b"\0")


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _both32(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _sectors(size: int) -> int:
    return -(-size // SECTOR)


def _size(contents: Contents) -> int:
    return contents.stat().st_size if isinstance(contents, Path) else len(contents)


def _copy(contents: Contents, out: BinaryIO) -> None:
    if isinstance(contents, bytes):
        out.write(contents)
        return
    with contents.open("rb") as stream:
        while chunk := stream.read(_COPY):
            out.write(chunk)
