# SPDX-License-Identifier: Apache-2.0
"""A FAT32 file system, written in one go and the same for the same files; what firmware and syslinux read.

Format: Microsoft's "FAT32 File System Specification" 1.03, long names included. Every cluster is given out in order,
folders first, so no file is in pieces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cove.units import MIB

SECTOR = 512
RESERVED = 32
_LEAST_CLUSTERS = 65525
_ENTRY = 32
_END = 0x0FFFFFFF
_DATE = (2017 - 1980) << 9 | 4 << 5 | 18  # 2017-04-18 16:30, as everything generated
_TIME = 16 << 11 | 30 << 5
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-~!#$%&'()@^`{}")
_COPY = 1 << 20

Contents = Path | bytes


@dataclass
class _Node:
    """A file or a folder on its way onto the disk."""

    name: str
    contents: Contents | None = None
    above: _Node | None = None
    below: dict[str, _Node] = field(default_factory=dict)
    first: int = 0
    clusters: int = 0
    short: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of a file."""
        return _size(self.contents) if self.contents is not None else 0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How a file system is laid out.

    Args:
        sectors: of all of it.
        per_cluster: sectors of a cluster.
        fat: sectors of one of the two tables.
    """

    sectors: int
    per_cluster: int
    fat: int

    @property
    def clusters(self) -> int:
        """How many there are."""
        return (self.sectors - RESERVED - 2 * self.fat) // self.per_cluster


def fat_size(files: Mapping[str, Contents]) -> int:
    """Bytes of the smallest FAT32, in whole MiB, that these files fit into with some room to spare."""
    entries = sum(len(path) + 64 for path in files) * 8
    wanted = sum(_size(one) + 8 * SECTOR for one in files.values()) + entries
    size = (wanted + 34 * MIB) // MIB * MIB  # 65525 clusters are 32 MiB, beside the tables
    while shape_of(size).clusters * shape_of(size).per_cluster * SECTOR < wanted + MIB:
        size += MIB
    return size


def shape_of(size: int) -> Shape:
    """The layout of a file system of ``size`` bytes: small clusters up to 260 MiB, as Windows has it."""
    per_cluster = 1 if size <= 260 * MIB else 8
    sectors = size // SECTOR
    # two tables of four bytes a cluster (two clusters do not exist)
    clusters = (sectors - RESERVED) // per_cluster + 2
    return Shape(sectors=sectors, per_cluster=per_cluster, fat=-(-clusters * 4 // SECTOR))


def write_fat(
    out: BinaryIO, files: Mapping[str, Contents], *, size: int, label: str, serial: int, hidden: int
) -> None:
    """Write a file system.

    Args:
        out: seekable; it is written from where it stands, zeroes are left out.
        files: contents by path ("EFI/BOOT/BOOTX64.EFI"); folders are made.
        size: bytes, at least :func:`fat_size`.
        label: eleven characters at most.
        serial: the volume's number.
        hidden: sectors of the disk before it.
    """
    shape = shape_of(size)
    if shape.clusters < _LEAST_CLUSTERS:
        raise ValueError(f"{size} bytes are too few for FAT32")
    base = out.tell()
    root = _tree(files)
    nodes = _place(root, shape, label)
    boot = _boot_sector(shape, label, serial, hidden)
    used = max(node.first + node.clusters for node in nodes)
    info = _info(shape.clusters - (used - 2), used)
    for at, sector in ((0, boot), (1, info), (6, boot), (7, info)):
        out.seek(base + at * SECTOR)
        out.write(sector)
    table = b"".join(_table(nodes))
    for index in range(2):
        out.seek(base + (RESERVED + index * shape.fat) * SECTOR)
        out.write(table)
    data = base + (RESERVED + 2 * shape.fat) * SECTOR
    for node in nodes:
        out.seek(data + (node.first - 2) * shape.per_cluster * SECTOR)
        if node.contents is None:
            out.write(_folder(node, label))
        else:
            _copy(node.contents, out)
    out.seek(base + size)


def _tree(files: Mapping[str, Contents]) -> _Node:
    root = _Node("")
    for path, contents in sorted(files.items()):
        node = root
        *folders, name = path.split("/")
        for part in folders:
            node = node.below.setdefault(part, _Node(part, above=node))
        node.below[name] = _Node(name, contents, above=node)
    return root


def _place(root: _Node, shape: Shape, label: str) -> list[_Node]:
    """Give every node its clusters; the root has the first."""
    folders = [root]
    for folder in folders:
        folders += [node for node in folder.below.values() if node.contents is None]
        taken: set[bytes] = set()
        for node in folder.below.values():
            node.short = _short_name(node.name, taken)
            taken.add(node.short)
    nodes = folders + [node for folder in folders for node in folder.below.values() if node.size]
    place = 2
    cluster = shape.per_cluster * SECTOR
    for node in nodes:
        bytes_ = node.size if node.contents is not None else len(_folder(node, label))
        node.first, node.clusters = place, max(1, -(-bytes_ // cluster))
        place += node.clusters
    if place - 2 > shape.clusters:
        raise ValueError("the files do not fit")
    return nodes


def _folder(folder: _Node, label: str) -> bytes:
    above = folder.above
    if above is None:
        entries = [_entry(label.upper().ljust(11).encode(), 0x08, 0, 0)]
    else:
        entries = [
            _entry(b".".ljust(11), 0x10, folder.first, 0),
            _entry(b"..".ljust(11), 0x10, 0 if above.above is None else above.first, 0),
        ]
    for node in folder.below.values():
        entries += _long_name(node.name, node.short)
        kind = 0x10 if node.contents is None else 0x20
        entries.append(_entry(node.short, kind, node.first, node.size))
    return b"".join(entries) + bytes(_ENTRY)


def _entry(name: bytes, kind: int, first: int, size: int) -> bytes:
    return struct.pack(
        "<11sBBBHHHHHHHI",
        name,
        kind,
        0,
        0,
        _TIME,
        _DATE,
        _DATE,
        first >> 16,
        _TIME,
        _DATE,
        first & 0xFFFF,
        size,
    )


def _short_name(name: str, taken: set[bytes]) -> bytes:
    """A name of eight and three characters: the name itself if it is one, else with a number."""
    stem, _, extension = name.upper().rpartition(".") if "." in name else (name.upper(), "", "")
    if len(stem) <= 8 and len(extension) <= 3 and _PLAIN.issuperset(stem + extension):
        plain = (stem.ljust(8) + extension.ljust(3)).encode()
        if plain not in taken:
            return plain
    clean = "".join(letter for letter in stem if letter in _PLAIN) or "FILE"
    ending = "".join(letter for letter in extension if letter in _PLAIN)[:3].ljust(3)
    number = 1
    while True:
        mark = f"~{number}"
        short = (clean[: 8 - len(mark)] + mark).ljust(8).encode() + ending.encode()
        if short not in taken:
            return short
        number += 1


def _long_name(name: str, short: bytes) -> list[bytes]:
    """The entries that hold a name which the short one does not say, the last piece first."""
    stem, extension = short[:8].rstrip().decode(), short[8:].rstrip().decode()
    if name == (f"{stem}.{extension}" if extension else stem):
        return []
    check = 0
    for byte in short:
        check = ((check & 1) << 7 | check >> 1) + byte & 0xFF
    units = [*struct.unpack(f"<{len(name.encode('utf-16-le')) // 2}H", name.encode("utf-16-le"))]
    if len(units) % 13:
        units.append(0)
        units += [0xFFFF] * (-len(units) % 13)
    pieces = [units[at : at + 13] for at in range(0, len(units), 13)]
    entries = []
    for index, piece in enumerate(pieces, 1):
        order = index | (0x40 if index == len(pieces) else 0)
        head = struct.pack("<B5HBBB", order, *piece[:5], 0x0F, 0, check)
        entries.append(head + struct.pack("<6HH2H", *piece[5:11], 0, *piece[11:]))
    return entries[::-1]


def _table(nodes: Iterable[_Node]) -> Iterator[bytes]:
    yield struct.pack("<II", 0x0FFFFFF8, _END)
    for node in nodes:
        last = node.first + node.clusters - 1
        yield struct.pack(f"<{node.clusters}I", *range(node.first + 1, last + 1), _END)


def _boot_sector(shape: Shape, label: str, serial: int, hidden: int) -> bytes:
    head = struct.pack(
        "<3s8sHBHBHHBHHHII", b"\xeb\x58\x90", b"COVE    ", SECTOR, shape.per_cluster, RESERVED, 2, 0, 0, 0xF8, 0,
        63, 255, hidden, shape.sectors,
    )  # fmt: skip
    more = struct.pack(
        "<IHHIHH12sBBBI11s8s", shape.fat, 0, 0, 2, 1, 6, bytes(12), 0x80, 0, 0x29, serial & 0xFFFFFFFF,
        label.upper().ljust(11).encode(), b"FAT32   ",
    )  # fmt: skip
    # without an operating system it says nothing and waits: int 18h, then a loop
    return (head + more + b"\xcd\x18\xeb\xfe").ljust(510, b"\0") + b"\x55\xaa"


def _info(free: int, following: int) -> bytes:
    head = b"RRaA" + bytes(480) + b"rrAa" + struct.pack("<II", free, following)
    return head.ljust(510, b"\0") + b"\x55\xaa"


def _size(contents: Contents | None) -> int:
    return contents.stat().st_size if isinstance(contents, Path) else len(contents or b"")


def _copy(contents: Contents, out: BinaryIO) -> None:
    if isinstance(contents, bytes):
        out.write(contents)
        return
    with contents.open("rb") as stream:
        while chunk := stream.read(_COPY):
            out.write(chunk)
