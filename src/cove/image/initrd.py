# SPDX-License-Identifier: Apache-2.0
"""The initramfs: a newc cpio archive, written without root and the same for the same input. Pure.

Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst; the fields that do not matter
(inode numbers, device, padding) are LinuxKit's.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cove.image.entries import MTIME

MODULE_LIST = "modules.list"
"""The file of the initramfs with the path of each module, one a line, in the order in which to load them."""

_FIRST_INODE = 721
_BLOCK = 512
_FOLDERS = ("bin", "dev", "mnt", "modules", "proc", "root", "run", "sys", "tmp")


@dataclass(frozen=True, kw_only=True)
class Node:
    """One entry of a cpio archive.

    Args:
        path: relative.
        mode: with the file type, as in stat(2).
        data: contents of a file or target of a symlink.
        device: major and minor number of a device node.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio(nodes: Iterable[Node]) -> Iterator[bytes]:
    """Write a newc archive.

    Args:
        nodes: in the order in which the kernel is to make them: folders before what they hold.

    Yields:
        its bytes, piece by piece.
    """
    written = 0
    inode = _FIRST_INODE
    for inode, node in enumerate(nodes, _FIRST_INODE):
        piece = _record(node, inode, MTIME) + _padded(node.data)
        written += len(piece)
        yield piece
    trailer = _record(Node(path="TRAILER!!!", mode=0), inode + 1, 0)
    yield trailer + bytes(-(written + len(trailer)) % _BLOCK)


def guest_nodes(*, init: bytes, busybox: bytes, modules: Sequence[tuple[str, bytes]]) -> Iterator[Node]:
    """The contents of a guest's initramfs.

    Args:
        init: the script that the kernel starts.
        busybox: the static program, put to /bin/busybox and /bin/sh.
        modules: name and unpacked bytes of each kernel module, in load order.
    """
    for folder in _FOLDERS:
        yield Node(path=folder, mode=stat.S_IFDIR | 0o755)
    # the kernel opens it for the first process, before anything can mount /dev
    yield Node(path="dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1))
    yield Node(path="bin/busybox", mode=stat.S_IFREG | 0o755, data=busybox)
    yield Node(path="bin/sh", mode=stat.S_IFLNK | 0o777, data=b"busybox")
    yield Node(path="init", mode=stat.S_IFREG | 0o755, data=init)
    for name, data in modules:
        yield Node(path=f"modules/{name}.ko", mode=stat.S_IFREG | 0o644, data=data)
    names = "".join(f"/modules/{name}.ko\n" for name, _ in modules)
    yield Node(path=MODULE_LIST, mode=stat.S_IFREG | 0o644, data=names.encode())


def _record(node: Node, inode: int, mtime: int) -> bytes:
    name = node.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    values = (
        inode, node.mode, 0, 0, links, mtime, len(node.data), 3, 1, *node.device, len(name), 0,
    )  # fmt: skip
    return _padded(b"070701" + b"".join(b"%08x" % value for value in values) + name)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
