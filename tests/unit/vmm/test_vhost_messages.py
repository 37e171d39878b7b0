# SPDX-License-Identifier: Apache-2.0
"""What a device reads of vhost-user and of rings: right ones as they are, wrong ones as errors."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.vmm import vhost_messages as messages
from cove.vmm.vhost_messages import Region

TABLE = [Region(0, 4096, 0x60000000, 0), Region(8192, 4096, 0x70000000, 65536)]


def test_a_memory_table_with_more_room_than_regions() -> None:
    body = struct.pack("<II", 1, 0) + struct.pack("<QQQQ", 1, 2, 3, 4) + bytes(32)
    assert messages.regions(body) == [Region(1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("address", "size", "user", "found"),
    [(0, 4096, False, 0), (100, 10, False, 100), (8192, 1, False, 65536), (0x70000004, 4092, True, 65540)],
)
def test_places(address: int, size: int, user: bool, found: int) -> None:
    assert messages.place(TABLE, address, size, user=user) == found


@pytest.mark.parametrize(
    ("address", "size", "user"),
    [(0, 4097, False), (4096, 1, False), (12287, 2, False), (0, 1, True), (1 << 63, 1, True)],
)
def test_places_outside_of_memory(address: int, size: int, user: bool) -> None:
    with pytest.raises(ValueError, match="outside"):
        messages.place(TABLE, address, size, user=user)


def test_the_configuration_is_padded_with_zeroes() -> None:
    asked = struct.pack("<III", 2, 4, 1)
    assert messages.config_reply(asked + bytes(4), b"abcd") == asked + b"cd\0\0"
    with pytest.raises(ValueError, match="configuration"):
        messages.config_reply(struct.pack("<III", 0, 257, 0), b"")


def table(*entries: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("<QIHH", *entry) for entry in entries)


def chain_of(data: bytes, head: int) -> list[tuple[int, int]]:
    return list(messages.chain(lambda offset, size: data[offset : offset + size], 0, len(data) // 16, head))


def test_a_chain_of_buffers() -> None:
    data = table((100, 1, 3, 2), (0, 0, 0, 0), (300, 3, 2, 1))
    assert chain_of(data, 0) == [(100, 1), (300, 3)]
    assert chain_of(data, 2) == [(300, 3)]


@pytest.mark.parametrize(
    ("entries", "head", "said"),
    [
        ([(0, 1, 1, 0)], 0, "without end"),
        ([(0, 1, 1, 1), (0, 1, 1, 0)], 0, "without end"),
        ([(0, 1, 1, 9), (0, 1, 0, 0)], 0, "descriptor 9"),
        ([(0, 1, 0, 0)], 1, "descriptor 1"),
        ([(0, 1, 4, 0)], 0, "indirect"),
    ],
)
def test_chains_that_lead_nowhere(entries: list[tuple[int, int, int, int]], head: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        chain_of(table(*entries), head)


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    readers = (
        messages.regions, messages.ring_state, messages.ring_addresses, messages.ring_of_handle,
        lambda data: messages.config_reply(data, b""), lambda data: chain_of(data, 0),
    )  # fmt: skip
    for read in readers:
        try:
            read(body)  # type: ignore[operator]
        except ValueError as error:
            assert str(error)  # noqa: PT017
