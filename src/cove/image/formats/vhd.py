# SPDX-License-Identifier: Apache-2.0
"""A VHD of fixed size: a raw disk and a footer behind it. Pure.

Format: Microsoft's "Virtual Hard Disk Image Format Specification" 1.0, with the way of counting cylinders in its
appendix.
"""

from __future__ import annotations

import struct
from uuid import UUID

SECTOR = 512
_SINCE = 946684800
"""Times count from the year 2000."""


def footer(size: int, *, number: UUID, time: int) -> bytes:
    """The footer of a disk.

    Args:
        size: bytes of the disk, whole sectors.
        number: the disk's own.
        time: when it was made, seconds since 1970.
    """

    def pack(check: int) -> bytes:
        return struct.pack(
            ">8sIIQI4sI4sQQHBBII16sB427x", b"conectix", 2, 0x10000, 0xFFFFFFFFFFFFFFFF, time - _SINCE, b"cove",
            0x10000, b"Wi2k", size, size, *geometry(size // SECTOR), 2, check, number.bytes, 0,
        )  # fmt: skip

    return pack(~sum(pack(0)) & 0xFFFFFFFF)


def geometry(sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads and sectors of a track that a disk of so many sectors claims."""
    sectors = min(sectors, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        return sectors // 255 // 16, 16, 255
    tracks = 17
    rest = sectors // tracks
    heads = max(4, (rest + 1023) // 1024)
    if rest >= heads * 1024 or heads > 16:
        tracks, heads = 31, 16
        rest = sectors // tracks
    if rest >= heads * 1024:
        tracks, heads = 63, 16
        rest = sectors // tracks
    return rest // heads, heads, tracks
