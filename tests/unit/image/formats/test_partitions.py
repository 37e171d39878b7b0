# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
import zlib
from uuid import UUID

from cove.image.formats.partitions import FIRST, SECTOR, TABLE, guid_partition_table, master_boot_record

DISK, PART = UUID(int=1), UUID(int=2)


def test_master_boot_record() -> None:
    record = master_boot_record(b"\xfa" * 600, sectors=5000, kind=0x0C, active=True, signature=0xDEADBEEF)
    assert (len(record), record[:440], record[510:]) == (512, b"\xfa" * 440, b"\x55\xaa")
    assert struct.unpack_from("<I", record, 440) == (0xDEADBEEF,)
    active, kind, first, sectors = struct.unpack_from("<BxxxBxxxII", record, 446)
    assert (active, kind, first, sectors) == (0x80, 0x0C, FIRST, 5000)
    assert record[462:510] == bytes(48)


def check(header: bytes, entries: bytes) -> tuple[int, ...]:
    assert header[:8] == b"EFI PART"
    length, crc = struct.unpack_from("<II", header, 12)
    assert zlib.crc32(header[:16] + bytes(4) + header[20:length]) == crc
    own, other, usable, last_usable = struct.unpack_from("<QQQQ", header, 24)
    table, count, size, entries_crc = struct.unpack_from("<QIII", header, 72)
    assert zlib.crc32(entries[: count * size]) == entries_crc
    return own, other, usable, last_usable, table


def test_guid_partition_table() -> None:
    sectors = 100_000
    first, last = guid_partition_table(
        sectors=sectors, size=70_000, disk=DISK, partition=PART, name="EFI System"
    )
    assert len(first) == (1 + TABLE) * SECTOR
    assert len(last) == TABLE * SECTOR
    assert check(first[SECTOR:], first[2 * SECTOR :]) == (1, sectors - 1, 34, sectors - 34, 2)
    assert check(last[-SECTOR:], last[:-SECTOR]) == (sectors - 1, 1, 34, sectors - 34, sectors - 33)
    entry = first[2 * SECTOR :][:128]
    assert UUID(bytes_le=entry[:16]) == UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
    assert struct.unpack_from("<QQ", entry, 32) == (FIRST, FIRST + 70_000 - 1)
    assert entry[56:].decode("utf-16-le").rstrip("\0") == "EFI System"
    assert first[446 + 4] == 0xEE
