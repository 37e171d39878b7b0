# SPDX-License-Identifier: Apache-2.0
"""Let dockerd forget the rules of its default bridge, once it has ended: it would make them twice at its next start.

dockerd's bridge driver sets up all networks that it remembers, and then dockerd takes its default bridge down again,
always, and makes it anew: 46 calls of iptables, 0.7 s in User-Mode Linux and 1.6 s under emulation, for nothing. So
the driver's record of that one network is taken out of its database. All other records stay, those of the same
network too, with which dockerd does as before.

The database is bbolt's, version 2 (go.etcd.io/bbolt, page.go, meta.go, bucket.go). What is not understood to the last
byte is left as it is, and so is a record that is the first of its page below another: pages above name a page by its
first key, and bbolt relies on the two being the same (node.go: read, rebalance). Where they differ it frees a page that
is still in use, and dockerd dies of it at each start.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Item = tuple[int, int, bytes, int, int]

_MAGIC, _VERSION = 0xED0CDAED, 2
_BRANCH, _LEAF = 1, 2
_PAGE = struct.Struct("<QHHI")  # id, flags, count, pages that follow
_META = struct.Struct(
    "<IIIIQQQQQQ"
)  # magic, version, page size, flags, root, sequence, free list, end, number, sum
_LEAF_ITEM = struct.Struct("<IIII")  # flags, offset from here, sizes of key and value
_BRANCH_ITEM = struct.Struct("<IIQ")  # offset from here, size of key, page
_BUCKET = struct.Struct("<QQ")  # page, or 0 for one that follows at once; sequence
_PATIENCE = 30_000
"""Milliseconds; whoever stops dockerd has given up before."""

_BUCKET_NAME = b"libnetwork"
_RECORD = b"docker/network/v1.0/bridge/"
_SIGN = b'"DefaultBridge":true'


class Odd(Exception):  # noqa: N818  (an answer, not an error)
    """The database is not what we know."""


def forget_default_bridge(data: bytes) -> tuple[int, bytes] | None:
    """The change that takes the record away: (offset, bytes), or None if there is none that may go.

    Args:
        data: the database's bytes.

    Raises:
        Odd, struct.error: it is not understood.
    """
    size, root = _newest(data)
    (bucket,) = [item for item in _items(data, size, root * size, set()) if item[2] == _BUCKET_NAME]
    start = bucket[3]
    place, _ = _BUCKET.unpack_from(data, start)
    top = place * size if place else start + _BUCKET.size
    for page, index, key, value, length in _items(data, size, top, set()):
        if key.startswith(_RECORD) and _SIGN in data[value : value + length]:
            named_above = index == 0 and page != top
            return None if named_above else _without(data, page, index)
    return None


def _newest(data: bytes) -> tuple[int, int]:
    """Page size and root page of the newer of the two heads that are whole."""
    found = []
    (size,) = struct.unpack_from("<I", data, _PAGE.size + 8)
    for number in (0, 1):
        start = number * size + _PAGE.size
        fields = _META.unpack_from(data, start)
        if fields[:3] == (_MAGIC, _VERSION, size) and fields[9] == _fnv(data[start : start + _META.size - 8]):
            found.append((fields[8], fields[4]))
    if not found or size < 512:
        raise Odd
    return size, max(found)[1]


def _fnv(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def _items(data: bytes, size: int, page: int, seen: set[int]) -> Iterator[Item]:
    """All items below a page: (page's offset, number in it, key, value's offset, value's length)."""
    _, flags, count, _ = _PAGE.unpack_from(data, page)
    if page in seen or flags not in (_BRANCH, _LEAF):
        raise Odd
    seen.add(page)
    for index in range(count):
        here = page + _PAGE.size + 16 * index
        if flags == _BRANCH:
            yield from _items(data, size, _BRANCH_ITEM.unpack_from(data, here)[2] * size, seen)
            continue
        _, offset, key, value = _LEAF_ITEM.unpack_from(data, here)
        start = here + offset
        if start + key + value > len(data):
            raise Odd
        yield page, index, data[start : start + key], start + key, value


def _without(data: bytes, page: int, index: int) -> tuple[int, bytes]:
    """A leaf without one of its items: keys and values stay where they are, what points at them moves up."""
    number, flags, count, more = _PAGE.unpack_from(data, page)
    if count < 2:
        raise Odd
    items = []
    for other in range(count):
        fields = _LEAF_ITEM.unpack_from(data, page + _PAGE.size + 16 * other)
        if other != index:
            offset = fields[1] + (16 if other > index else 0)
            items.append(_LEAF_ITEM.pack(fields[0], offset, *fields[2:]))
    return page, _PAGE.pack(number, flags, count - 1, more) + b"".join(items)


def main(path: str, dockerd: int) -> None:
    """Change the database at ``path`` when dockerd has ended; one that is missing or not understood is left alone.

    Args:
        path: the database.
        dockerd: the process whose end is waited for; it may be gone.
    """
    try:
        _wait_for_end(dockerd)
        with open(path, "r+b", buffering=0) as database:
            fcntl.flock(database, fcntl.LOCK_EX | fcntl.LOCK_NB)  # dockerd holds it as long as it lives
            change = forget_default_bridge(database.read())
            if change is not None:
                os.pwrite(database.fileno(), change[1], change[0])
                os.fsync(database.fileno())
    except (OSError, Odd, struct.error, ValueError) as error:
        print(f"{path} is left as it is: {error!r}", file=sys.stderr)


def _wait_for_end(process: int) -> None:
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    ended = select.poll()
    ended.register(handle, select.POLLIN)
    ended.poll(_PATIENCE)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
