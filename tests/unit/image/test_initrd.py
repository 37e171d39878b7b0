# SPDX-License-Identifier: Apache-2.0
"""The initramfs: newc cpio."""

from __future__ import annotations

import hashlib
import stat

from hypothesis import given
from hypothesis import strategies as st

from cove.image.initrd import Node, cpio, guest_nodes

from .parts import read_cpio


def guest() -> bytes:
    nodes = guest_nodes(init=b"#!/bin/sh\n", busybox=b"busy", modules=[("lib_b", b"B"), ("over_lay", b"O")])
    return b"".join(cpio(nodes))


def test_the_guests_initramfs() -> None:
    found = read_cpio(guest())
    assert found["init"] == (stat.S_IFREG | 0o755, b"#!/bin/sh\n", (0, 0))
    assert found["bin/sh"] == (stat.S_IFLNK | 0o777, b"busybox", (0, 0))
    assert found["dev/console"] == (stat.S_IFCHR | 0o600, b"", (5, 1))
    assert found["modules.list"][1] == b"/modules/lib_b.ko\n/modules/over_lay.ko\n"
    assert found["modules/lib_b.ko"][1] == b"B"
    assert {"proc", "sys", "root", "dev"} <= found.keys()


def test_folders_come_first() -> None:
    order = list(read_cpio(guest()))
    for path in order:
        parent = path.rpartition("/")[0]
        assert not parent or order.index(parent) < order.index(path)


def test_the_same_bytes_every_time() -> None:
    assert len(guest()) % 512 == 0
    expected = "4bc70e48fb69d26812f98807fa9148fe455747c8164a7949f5905b51113e68e2"
    assert hashlib.sha256(guest()).hexdigest() == expected


@given(st.dictionaries(st.from_regex(r"[a-zé]{1,20}", fullmatch=True), st.binary(max_size=40), max_size=5))
def test_names_and_contents_come_back(files: dict[str, bytes]) -> None:
    nodes = [Node(path=path, mode=stat.S_IFREG | 0o644, data=data) for path, data in files.items()]
    found = read_cpio(b"".join(cpio(nodes)))
    assert {path: data for path, (_, data, _) in found.items()} == files
