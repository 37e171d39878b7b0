# SPDX-License-Identifier: Apache-2.0
"""The host's relay, with the real agent behind it and between them what gvproxy does: both ways end as one."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from cove.guest.relay import CHUNK, CHUNK_LIMIT, Relay
from tests.unit.cove_guest.agents import Agent, UnixServer, echo, until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
END = bytes(4)


async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()


def gvproxy_to(port: int) -> Serve:
    """Forwards to a TCP port as gvproxy 0.8.1 does: as soon as one direction ends, both are closed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        ways = [
            asyncio.ensure_future(forward(reader, far_writer)),
            asyncio.ensure_future(forward(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.close()
            writer.close()
            with suppress(ConnectionError):
                await far_writer.wait_closed()

    return serve


@asynccontextmanager
async def relayed(folder: Path, serve: Serve) -> AsyncIterator[Path]:
    """The path of a relay's socket, behind which ``serve`` answers."""
    target = folder / "target.sock"
    served: set[asyncio.Task[None]] = set()

    async def serve_to_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_unix_server(serve_to_the_end, target)
    relay = Relay(folder / "relayed.sock", target)
    await relay.start()
    try:
        yield folder / "relayed.sock"
    finally:
        await relay.stop()
        server.close()
        async with asyncio.timeout(20):
            await asyncio.gather(*served, return_exceptions=True)
        assert not (folder / "relayed.sock").exists()


async def ask(path: Path, data: bytes, *, end: bool = True) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
def engine(agent: Agent) -> Iterator[UnixServer]:
    running = UnixServer(agent.engine, echo)
    until(lambda: "engine" in agent.stages(), "the agent's own ping to be answered")
    yield running
    running.close()


async def test_half_closed_connection_reaches_the_engine_and_back(
    agent: Agent, engine: UnixServer, tmp_path: Path
) -> None:
    async with relayed(tmp_path, gvproxy_to(agent.relay)) as path:
        assert await ask(path, b"question") == b"question"  # echo answers after our end alone
        assert await ask(path, b"") == b""
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600


async def test_many_and_large(agent: Agent, engine: UnixServer, tmp_path: Path) -> None:
    texts = [os.urandom(size) for size in (1, CHUNK - 1, CHUNK, CHUNK + 1, 4 << 20)] * 2
    async with relayed(tmp_path, gvproxy_to(agent.relay)) as path:
        assert await asyncio.gather(*(ask(path, text) for text in texts)) == texts


async def test_engine_that_ends_first_can_still_be_written_to(agent: Agent, tmp_path: Path) -> None:
    received: list[bytes] = []

    def hang_up_first(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        received.append(connection.recv(100))

    server = UnixServer(agent.engine, hang_up_first)
    try:
        async with relayed(tmp_path, gvproxy_to(agent.relay)) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"?")
            async with asyncio.timeout(20):
                assert await reader.read() == b"bye"
            writer.write(b"still here")
            writer.close()
            await asyncio.to_thread(until, lambda: b"still here" in received, "the late bytes")
    finally:
        server.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        (5).to_bytes(4) + b"cut",
        (CHUNK_LIMIT + 1).to_bytes(4) + b"x",
        (2).to_bytes(4) + b"ok" + b"\0\0",
    ],
    ids=["nothing", "half a chunk", "too long", "half a length"],
)
async def test_what_is_not_chunks_ends_the_connection(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with relayed(tmp_path, serve) as path:
        with suppress(ConnectionResetError):
            assert await ask(path, b"hello", end=False) in (b"", b"cut", b"ok")


async def test_what_goes_to_the_guest_is_chunks_and_an_empty_one(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(21) == (6).to_bytes(4) + b"docker" + (3).to_bytes(4) + b"abc" + END
        writer.write((2).to_bytes(4) + b"o" + b"k" + (1).to_bytes(4) + b"!" + END)
        await writer.drain()
        await reader.read()  # the connection stays until the host hangs up
        writer.close()

    async with relayed(tmp_path, serve) as path:
        assert await ask(path, b"abc") == b"ok!"


async def test_guest_that_cannot_be_reached_ends_the_connection(tmp_path: Path) -> None:
    relay = Relay(tmp_path / "relayed.sock", tmp_path / "nobody.sock")
    await relay.start()
    with suppress(ConnectionResetError, BrokenPipeError):
        assert await ask(tmp_path / "relayed.sock", b"hello") == b""
    await relay.stop()


async def test_left_over_socket_is_replaced_and_stop_closes_what_is_open(tmp_path: Path) -> None:
    (tmp_path / "relayed.sock").write_text("left over")

    arrived = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()
        writer.close()

    async with relayed(tmp_path, silent) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x")
        await asyncio.wait_for(arrived.wait(), 20)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()


async def test_stop_before_start_is_fine(tmp_path: Path) -> None:
    await Relay(tmp_path / "relayed.sock", tmp_path / "target.sock").stop()
