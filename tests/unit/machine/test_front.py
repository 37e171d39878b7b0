# SPDX-License-Identifier: Apache-2.0
"""docker.sock on the host as a pipe: what is not a start goes through as it is, in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from cove.host.http_scan import Action, Call
from cove.machine.front import Amend, Check, front
from cove.machine.ports import Ticket
from cove.system.paths import Home
from tests.unit.machine.guest_world import chunk, send

DEADLINE = 20.0
ATTACH = b"POST /containers/web/attach?stream=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
CREATE = b"POST /containers/create HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
START = b"POST /containers/web/start HTTP/1.1\r\nContent-Length: 0\r\n\r\n"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Keeper:
    """Says what it is told to say, and remembers what it was asked."""

    def __init__(self, refusal: str | None = None, late: str | None = None) -> None:
        self.refusal, self.late = refusal, late
        self.asked: list[object] = []
        self.abandoned = asyncio.Event()

    async def before(self, call: Call) -> Ticket:
        self.asked.append(call.action)
        return Ticket(call=call, refusal=self.refusal)

    async def after(self, ticket: Ticket, status: int) -> str | None:
        self.asked.append(status)
        return self.late

    def abandon(self, ticket: Ticket) -> None:
        self.abandoned.set()


@asynccontextmanager
async def client_of(
    home: Home,
    keeper: Keeper,
    serve: Serve,
    check: Check = lambda _: None,
    amend: Amend = lambda body: body,
) -> AsyncIterator[Client]:
    paths = home.machine("dev")
    paths.net_dir.mkdir(parents=True)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert await chunk(reader) == b"docker"
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(accept, paths.relay_socket)
    listening = front(paths, keeper, check, amend)
    await listening.start()
    reader, writer = await asyncio.open_unix_connection(paths.docker_socket)
    try:
        async with asyncio.timeout(DEADLINE):
            yield reader, writer
    finally:
        writer.close()
        await listening.stop()
        server.close()
        await asyncio.sleep(0.01)


async def test_a_connection_that_is_taken_over(home: Home) -> None:
    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await chunk(reader) == ATTACH
        send(writer, b"HTTP/1.1 101 UPGRADED\r\n\r\n")
        held = b""
        while data := await chunk(reader):
            held += data
        send(writer, held[::-1])
        send(writer, b"")
        await reader.read()

    keeper = Keeper()
    async with client_of(home, keeper, engine) as (reader, writer):
        writer.write(ATTACH)
        assert await reader.readuntil(b"\r\n\r\n")
        writer.write(START)  # input of a container, not a request
        writer.write_eof()
        assert await reader.read() == START[::-1]
    assert keeper.asked == []


async def test_a_creation_is_checked_and_amended(home: Home) -> None:
    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await chunk(reader) == CREATE % 4 + b"[{}]"
        send(writer, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with client_of(
        home, Keeper(), engine, lambda body: "no" if b"bad" in body else None, lambda body: b"[" + body + b"]"
    ) as (reader, writer):
        writer.write(CREATE % 2 + b"{}")
        assert b"201" in await reader.readuntil(b"\r\n\r\n")
        writer.write(CREATE % 5 + b'"bad"')
        assert b"400" in await reader.readuntil(b"\r\n\r\n")


async def test_an_answer_waits_for_the_keeper(home: Home) -> None:
    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await chunk(reader) == START
        for piece in (b"HTTP/1.1 204 No", b" Content\r\n", b"\r\n"):
            send(writer, piece)
            await asyncio.sleep(0.01)
        await reader.read()

    keeper = Keeper()
    async with client_of(home, keeper, engine) as (reader, writer):
        writer.write(START)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 204 No Content\r\n\r\n"
        assert keeper.asked == [Action.START, 204]


@pytest.mark.parametrize("late", [False, True])
async def test_refusals_are_whole_answers(home: Home, late: bool) -> None:
    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await chunk(reader) == START
        send(writer, b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read()

    keeper = Keeper(late="no port") if late else Keeper(refusal="no port")
    async with client_of(home, keeper, engine) as (reader, writer):
        writer.write(START + START)
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"Connection: close" in head
    assert body == b'{"message": "no port"}\n'


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 20"], ids=["nothing", "half a head"])
async def test_an_engine_that_ends_instead_of_answering(home: Home, said: bytes) -> None:
    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await chunk(reader)
        if said:
            send(writer, said)
        send(writer, b"")
        await reader.read()

    keeper = Keeper()
    async with client_of(home, keeper, engine) as (reader, writer):
        writer.write(START)
        assert await reader.read() == said
        writer.close()
        await keeper.abandoned.wait()


async def test_half_a_request_reaches_the_engine_at_the_end(home: Home) -> None:
    got: list[bytes] = []

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await chunk(reader):
            got.append(data)
        send(writer, b"")

    async with client_of(home, Keeper(), engine) as (reader, writer):
        writer.write(START[:30])
        writer.write_eof()
        assert await reader.read() == b""
    assert b"".join(got) == START[:30]
