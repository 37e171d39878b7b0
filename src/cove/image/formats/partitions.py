# SPDX-License-Identifier: Apache-2.0
"""Partition tables around one partition that begins at 1 MiB. Pure.

Formats: UEFI 2.10, chapter 5: the old master boot record, and the GUID partition table with its protective one.
"""

from __future__ import annotations

import struct
import zlib
from uuid import UUID

SECTOR = 512
FIRST = 2048
"""The sector at which the partition begins."""

BOOT_CODE = 440
"""Bytes of the master boot record that are code."""

_ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_ENTRIES, _ENTRY = 128, 128
TABLE = 1 + _ENTRIES * _ENTRY // SECTOR
"""Sectors that a GUID partition table takes at either end of a disk, without the protective record."""


def master_boot_record(code: bytes, *, sectors: int, kind: int, active: bool, signature: int) -> bytes:
    """A disk's first sector, with one partition.

    Args:
        code: what a BIOS runs; at most :data:`BOOT_CODE` bytes.
        sectors: of the partition.
        kind: of the partition: 0x0C is FAT32.
        active: the code is to boot from it.
        signature: of the disk.
    """
    entry = _old_entry(FIRST, sectors, kind, active=active)
    return code[:BOOT_CODE].ljust(BOOT_CODE, b"\0") + struct.pack("<IH", signature, 0) + _record_end(entry)


def guid_partition_table(
    *, sectors: int, size: int, disk: UUID, partition: UUID, name: str
) -> tuple[bytes, bytes]:
    """A disk's first sectors and its last ones, with an EFI system partition.

    Args:
        sectors: of the disk.
        size: sectors of the partition.
        disk: the disk's number.
        partition: the partition's.
        name: the partition's.
    """
    entry = struct.pack(
        "<16s16sQQQ72s",
        _ESP.bytes_le,
        partition.bytes_le,
        FIRST,
        FIRST + size - 1,
        0,
        name.encode("utf-16-le"),
    )
    entries = entry.ljust(_ENTRIES * _ENTRY, b"\0")
    first = _header(1, sectors - 1, 2, sectors, disk, entries)
    last = _header(sectors - 1, 1, sectors - TABLE, sectors, disk, entries)
    protective = bytes(BOOT_CODE + 6) + _record_end(_old_entry(1, sectors - 1, 0xEE, active=False))
    return protective + first + entries, entries + last


def _header(own: int, other: int, table: int, sectors: int, disk: UUID, entries: bytes) -> bytes:
    def pack(check: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, check, 0, own, other, 1 + TABLE, sectors - TABLE - 1,
            disk.bytes_le, table, _ENTRIES, _ENTRY, zlib.crc32(entries),
        )  # fmt: skip

    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


def _old_entry(first: int, sectors: int, kind: int, *, active: bool) -> bytes:
    # the places in cylinders, heads and sectors say "beyond": only the sectors count
    beyond = b"\xfe\xff\xff"
    return struct.pack(
        "<B3sB3sII", 0x80 if active else 0, beyond, kind, beyond, first, min(sectors, 0xFFFFFFFF)
    )


def _record_end(entry: bytes) -> bytes:
    return entry.ljust(64, b"\0") + b"\x55\xaa"
