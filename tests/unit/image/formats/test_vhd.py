# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
from uuid import UUID

import pytest

from cove.image.formats.vhd import footer, geometry
from cove.units import GIB, MIB


def test_the_footer() -> None:
    data = footer(64 * MIB, number=UUID(int=7), time=946684800 + 5)
    assert (len(data), data[:8]) == (512, b"conectix")
    (check,) = struct.unpack_from(">I", data, 64)
    assert check == ~sum(data[:64] + bytes(4) + data[68:]) & 0xFFFFFFFF
    assert struct.unpack_from(">QIxxxxxxxxxxxxQQ", data, 16)[:2] == (0xFFFFFFFFFFFFFFFF, 5)
    assert struct.unpack_from(">QQ", data, 40) == (64 * MIB, 64 * MIB)
    assert data[68:84] == UUID(int=7).bytes


@pytest.mark.parametrize("size", [3 * MIB, 64 * MIB, 504 * MIB, GIB, 30 * GIB, 2040 * GIB])
def test_geometry_holds_no_more_than_the_disk(size: int) -> None:
    cylinders, heads, tracks = geometry(size // 512)
    assert 0 < cylinders <= 65535
    assert cylinders * heads * tracks * 512 <= size
    assert heads <= 16
