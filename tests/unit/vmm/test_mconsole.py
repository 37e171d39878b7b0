# SPDX-License-Identifier: Apache-2.0
"""The management console's datagrams, against a socket that answers as the kernel does."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import MachineError, UsageError
from cove.vmm.mconsole import DATA_LIMIT, decode_reply, encode_request, mconsole


def reply(text: str, *, error: int = 0, more: int = 0) -> bytes:
    data = text.encode() + b"\0"
    return struct.pack("=III512s", error, more, len(data), data)


def test_request() -> None:
    magic, version, length, data = struct.unpack("=III512s", encode_request("cad"))
    assert (magic, version, length, data[:4]) == (0xCAFEBABE, 2, 3, b"cad\0")


def test_a_request_that_is_too_long_is_refused() -> None:
    with pytest.raises(UsageError):
        encode_request("x" * DATA_LIMIT)


@given(st.binary(max_size=600))
def test_any_datagram_is_read_or_refused(datagram: bytes) -> None:
    try:
        _, _, text = decode_reply(datagram)
    except MachineError:
        assert len(datagram) < 12
    else:
        assert len(text) <= DATA_LIMIT


async def ask(path: Path, command: str, *replies: bytes, deadline: float = 5.0) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as kernel:
        kernel.bind(str(path))
        kernel.setblocking(False)
        asking = asyncio.create_task(mconsole(path, command, deadline=deadline))
        loop = asyncio.get_running_loop()
        request, sender = await loop.sock_recvfrom(kernel, 1000)
        assert request == encode_request(command)
        for part in replies:
            kernel.sendto(part, sender)
        return await asking


async def test_a_reply_in_parts(tmp_path: Path) -> None:
    text = await ask(tmp_path / "s", "version", reply("Linux", more=1), reply("6.12"))
    assert text == "Linux\n6.12"


async def test_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="refused 'fly'") as caught:
        await ask(tmp_path / "s", "fly", reply("Unknown command", error=1))
    assert caught.value.details == "Unknown command"


async def test_silence(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="did not answer"):
        await ask(tmp_path / "s", "cad", deadline=0.05)


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be reached"):
        await mconsole(tmp_path / "absent", "cad")
