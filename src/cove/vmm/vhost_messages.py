# SPDX-License-Identifier: Apache-2.0
"""vhost-user's messages and virtio's split rings as a device reads them. Pure: bytes in, data out.

Sources: docs/interop/vhost-user.rst of QEMU; "Virtual I/O Device (VIRTIO) Version 1.2", 2.7 (split virtqueues).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

GET_FEATURES, SET_MEM_TABLE, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = 1, 5, 8, 9, 10
GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, GET_PROTOCOL_FEATURES = 11, 12, 13, 15
SET_BACKEND_REQ_FD, GET_CONFIG = 21, 24

BALLOON = 5
"""A memory balloon's number among virtio devices."""

HEADER = struct.Struct("<III")
"""A message's head: request, flags, length of its body."""

REPLY_FLAGS = 1 | 4
"""Version 1; this is a reply."""

MOST_RINGS = 8
MOST_ENTRIES = 1024

_REGION = struct.Struct("<QQQQ")
_ADDRESSES = struct.Struct("<IIQQQQ")
_STATE = struct.Struct("<II")
_CONFIG = struct.Struct("<III")
_DESCRIPTOR = struct.Struct("<QIHH")
_NEXT, _INDIRECT = 1, 4
_LONGEST_CONFIG = 256

Read = Callable[[int, int], bytes]
"""Reads memory of the guest: (offset in its file, bytes)."""


@dataclass(frozen=True)
class Region:
    """A part of the guest's memory.

    Args:
        guest: where the guest has it.
        size: bytes.
        user: where the VMM has it.
        offset: where its file has it.
    """

    guest: int
    size: int
    user: int
    offset: int


def regions(body: bytes) -> list[Region]:
    """The regions of SET_MEM_TABLE, which may have room for more than it counts.

    Raises:
        ValueError: it is cut off.
    """
    if len(body) < 8:
        raise ValueError("a memory table without its head")
    (count,) = struct.unpack_from("<I", body)
    if len(body) < 8 + count * _REGION.size:
        raise ValueError(f"a memory table of {count} regions in {len(body)} bytes")
    return [Region(*_REGION.unpack_from(body, 8 + number * _REGION.size)) for number in range(count)]


def place(table: Sequence[Region], address: int, size: int, *, user: bool) -> int:
    """Where the memory's file has ``size`` bytes of an address, which lie in one region.

    Args:
        table: the regions.
        address: of the VMM's address space with ``user``, otherwise of the guest's.
        size: bytes.
        user: see above.

    Raises:
        ValueError: no region holds them.
    """
    for region in table:
        start = region.user if user else region.guest
        if start <= address and address + size <= start + region.size:
            return address - start + region.offset
    raise ValueError(f"{size} bytes at {address:#x} are outside of the guest's memory")


def ring_state(body: bytes) -> tuple[int, int]:
    """Ring and number of SET_VRING_NUM, SET_VRING_BASE and their like.

    Raises:
        ValueError: it is cut off, or there is no such ring.
    """
    if len(body) < _STATE.size:
        raise ValueError("a ring's state is cut off")
    index, number = _STATE.unpack_from(body)
    return _ring(index), number


def ring_addresses(body: bytes) -> tuple[int, int, int, int]:
    """Ring, and the VMM's addresses of its descriptors, used ring and available ring.

    Raises:
        ValueError: it is cut off, or there is no such ring.
    """
    if len(body) < _ADDRESSES.size:
        raise ValueError("a ring's addresses are cut off")
    index, _flags, descriptors, used, available, _log = _ADDRESSES.unpack_from(body)
    return _ring(index), descriptors, used, available


def ring_of_handle(body: bytes) -> int:
    """The ring of SET_VRING_KICK or SET_VRING_CALL, whose descriptor comes beside it.

    Raises:
        ValueError: it is cut off, or there is no such ring.
    """
    if len(body) < 8:
        raise ValueError("a ring's number is cut off")
    return _ring(body[0])


def config_reply(body: bytes, config: bytes) -> bytes:
    """The body of the reply to GET_CONFIG: what was asked for, zero where the device has nothing.

    Raises:
        ValueError: it is cut off, or asks for too much.
    """
    if len(body) < _CONFIG.size:
        raise ValueError("a question for the configuration is cut off")
    offset, size, flags = _CONFIG.unpack_from(body)
    if offset + size > _LONGEST_CONFIG:
        raise ValueError(f"a question for {size} bytes of configuration")
    return _CONFIG.pack(offset, size, flags) + config.ljust(_LONGEST_CONFIG, b"\0")[offset : offset + size]


def chain(read: Read, descriptors: int, entries: int, head: int) -> Iterator[tuple[int, int]]:
    """The buffers of one request: guest's address and bytes of each.

    Args:
        read: reads the guest's memory.
        descriptors: where its table of descriptors lies.
        entries: how many it has.
        head: the first one.

    Raises:
        ValueError: it leads outside of the table, in a circle, or into a table of its own, which was not agreed on.
    """
    for _ in range(entries):
        if head >= entries:
            raise ValueError(f"descriptor {head} of {entries}")
        address, size, flags, following = _DESCRIPTOR.unpack(read(descriptors + 16 * head, 16))
        if flags & _INDIRECT:
            raise ValueError("an indirect descriptor")
        yield address, size
        if not flags & _NEXT:
            return
        head = following
    raise ValueError("a chain of descriptors without end")


def _ring(index: int) -> int:
    if index >= MOST_RINGS:
        raise ValueError(f"ring {index}")
    return index
