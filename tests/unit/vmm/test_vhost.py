# SPDX-License-Identifier: Apache-2.0
"""The bridge makes two messages right and leaves all others, with their descriptors, as they are."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.vmm.vhost import GET_CONFIG, SET_MEM_TABLE, VhostBridge, corrected


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cove-") as name:  # pytest's own folders are too deep for sockets
        yield Path(name)


def test_a_question_for_the_configuration_gets_room_for_the_answer() -> None:
    # as Linux 6.12 sends it for the first 36 bytes
    question = struct.pack("<III", 0, 36, 0)
    assert corrected(GET_CONFIG, question) == question + bytes(36)


def test_a_memory_table_ends_with_its_last_region() -> None:
    region = bytes(range(32))
    table = struct.pack("<II", 1, 0) + region
    assert corrected(SET_MEM_TABLE, table + bytes(32)) == table


@given(st.integers(0, 40), st.binary(max_size=200))
def test_right_messages_stay_as_they_are(request: int, body: bytes) -> None:
    once = corrected(request, body)
    assert corrected(request, once) == once
    if request not in (GET_CONFIG, SET_MEM_TABLE):
        assert once == body


def test_messages_cross_with_their_descriptors(folder: Path) -> None:
    async def talk() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as back:
            back.bind(str(folder / "back"))
            back.listen(1)
            bridge = VhostBridge(folder / "front", folder / "back")
            bridge.start()
            kernel = socket.socket(socket.AF_UNIX)
            await loop.run_in_executor(None, kernel.connect, str(folder / "front"))
            daemon, _ = await loop.run_in_executor(None, back.accept)
            with kernel, daemon:
                await _exchange(kernel, daemon)
                bridge.stop()
                assert daemon.recv(1) == b""
            assert not (folder / "front").exists()

    asyncio.run(asyncio.wait_for(talk(), 20))


async def _exchange(kernel: socket.socket, daemon: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    table = struct.pack("<II", 1, 0) + bytes(32)
    message = struct.pack("<III", SET_MEM_TABLE, 9, 72) + table + bytes(32)
    socket.send_fds(kernel, [message[:20]], [writing])
    os.close(writing)
    kernel.sendall(message[20:])
    data, handles, _, _ = await loop.run_in_executor(None, socket.recv_fds, daemon, 200, 4)
    assert data == struct.pack("<III", SET_MEM_TABLE, 9, 40) + table
    (copy,) = handles
    os.write(copy, b"through")
    assert os.read(reading, 7) == b"through"
    os.close(copy)
    os.close(reading)
    answer = struct.pack("<III", SET_MEM_TABLE, 5, 8) + bytes(8)
    daemon.sendall(answer)
    assert await loop.run_in_executor(None, kernel.recv, 200) == answer


def test_a_kernel_whose_daemon_is_gone_is_let_go(folder: Path) -> None:
    async def talk() -> None:
        bridge = VhostBridge(folder / "front", folder / "back")
        bridge.start()
        with socket.socket(socket.AF_UNIX) as kernel:
            await asyncio.get_running_loop().run_in_executor(None, kernel.connect, str(folder / "front"))
            assert await asyncio.get_running_loop().run_in_executor(None, kernel.recv, 1) == b""
        bridge.stop()

    asyncio.run(asyncio.wait_for(talk(), 20))
