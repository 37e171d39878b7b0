# SPDX-License-Identifier: Apache-2.0
"""An empty disk that only holds what differs from another one: a qcow2 image over a backing file. Pure.

The format is that of QEMU's docs/interop/qcow2.rst, version 3. An empty image is four clusters: header, refcount
table, refcount block and L1 table. The L1 table is a whole cluster, which covers 4 TiB, so that the disk can be made
larger by a change of eight bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cove.errors import UsageError

CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS

LARGEST = (CLUSTER // 8) * (CLUSTER // 8) * CLUSTER
"""Bytes of the largest disk that the L1 table covers."""

SIZE_AT = 24
"""Where the header has the size of the disk, 8 bytes, big-endian."""

EMPTY_SIZE = 4 * CLUSTER
"""Bytes of the file of an empty image."""

HEAD = 4096
"""Bytes from the file's beginning in which all that :func:`read_header` wants is found."""

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_HEADER_3 = struct.Struct(">QQQII")
_LENGTH = _HEADER.size + _HEADER_3.size
_FORMAT_EXTENSION = 0xE2792ACA
_REFCOUNT_ORDER = 4
_LONGEST_NAME = 1023

Format = Literal["raw", "qcow2"]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a qcow2 image says of itself.

    Args:
        size: bytes of the disk.
        backing: the file that it is based on; None if there is none.
    """

    size: int
    backing: Path | None


def empty_overlay(size: int, backing: Path, backing_format: Format) -> bytes:
    """A whole image file that shows ``backing``, and zeroes where that ends.

    Args:
        size: bytes of the disk.
        backing: absolute path of the file that it is based on, which must never change again.
        backing_format: of that file; never guessed, since a guest can write any header on a raw disk.

    Raises:
        UsageError: the path is too long for the format, or the disk too large.
    """
    name = bytes(backing)
    if len(name) > _LONGEST_NAME:
        raise UsageError(f"the path of a disk would be too long: {backing}")
    if size > LARGEST:
        raise UsageError(f"a disk of {size} bytes is larger than {LARGEST}")
    text = backing_format.encode()
    extension = struct.pack(">II", _FORMAT_EXTENSION, len(text)) + text.ljust(8, b"\0") + bytes(8)
    header = _HEADER.pack(
        _MAGIC, 3, _LENGTH + len(extension), len(name), CLUSTER_BITS, size, 0, CLUSTER // 8, 3 * CLUSTER,
        CLUSTER, 1, 0, 0,
    )  # fmt: skip
    header += _HEADER_3.pack(0, 0, 0, _REFCOUNT_ORDER, _LENGTH)
    table = struct.pack(">Q", 2 * CLUSTER)
    counts = struct.pack(">4H", 1, 1, 1, 1)
    clusters = (header + extension + name, table, counts, b"")
    return b"".join(cluster.ljust(CLUSTER, b"\0") for cluster in clusters)


def read_header(head: bytes) -> Header | None:
    """The header of an image from the first :data:`HEAD` bytes of its file; None if it is none of ours."""
    if len(head) < _LENGTH or not head.startswith(_MAGIC):
        return None
    _, version, name_at, name_length, _, size = _HEADER.unpack_from(head)[:6]
    if version != 3 or name_at + name_length > len(head):
        return None
    name = head[name_at : name_at + name_length]
    return Header(size=size, backing=Path(name.decode(errors="surrogateescape")) if name_at else None)


def size_field(size: int) -> bytes:
    """What is to be written at :data:`SIZE_AT` to make a disk larger.

    Raises:
        UsageError: the disk would be too large.
    """
    if size > LARGEST:
        raise UsageError(f"a disk of {size} bytes is larger than {LARGEST}")
    return struct.pack(">Q", size)
