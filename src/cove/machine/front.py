# SPDX-License-Identifier: Apache-2.0
"""docker.sock on the host: each connection leads to the engine, unchanged, past the keeper of the host's ports.

A request that starts a container is held until the keeper has taken the ports, and its answer until they are open.
What is not understood is passed through for the rest of its connection; see :mod:`cove.host.http_scan`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from cove.guest.relay import CHUNK, DOCKER, Relay, Stream, Tunnel
from cove.host.http_scan import Call, Creation, RequestScanner, with_body
from cove.machine.gate import Gate
from cove.machine.port_ticket import Ticket
from cove.system.paths import MachinePaths

_HEAD_LIMIT = 64 << 10
_HEAD_END = b"\r\n\r\n"
_DRAIN_DEADLINE = 5.0


class Keeper(Protocol):
    """Who is asked about starts; see :class:`cove.machine.ports.PortKeeper`."""

    async def before(self, call: Call) -> Ticket:
        """Before the request is passed on."""

    async def after(self, ticket: Ticket, status: int) -> str | None:
        """After it was answered."""

    def abandon(self, ticket: Ticket) -> None:
        """The client, or the engine, went away in between."""


Check = Callable[[bytes], str | None]
"""Told the body of a request that creates a container, says why it cannot be, or None."""


Amend = Callable[[bytes], bytes]
"""Told the body of a request that creates a container, gives the one to pass on."""


def front(
    paths: MachinePaths,
    keeper: Keeper,
    check: Check = lambda _: None,
    amend: Amend = lambda body: body,
    *,
    gate: Gate | None = None,
    changed: Callable[[int], None] = lambda _count: None,
) -> Relay:
    """What serves the engine's API on the host, not started yet.

    Args:
        paths: the machine's files.
        keeper: of the published ports.
        check: looks at containers that are to be created.
        amend: changes them.
        gate: passed before each connection to the guest.
        changed: told how many clients there are when one comes or goes.
    """
    tunnel = Tunnel(paths.relay_socket)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if gate is not None:
            await gate.passed()
        await _Connection(reader, writer, await tunnel.open(DOCKER), keeper, check, amend).serve()

    return Relay(paths.docker_socket, paths.relay_socket, serve=serve, changed=changed)


class _RefusedError(Exception):
    """The client was answered by us; its connection ends."""


class _Connection:
    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stream: Stream,
        keeper: Keeper,
        check: Check,
        amend: Amend,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._stream = stream
        self._keeper = keeper
        self._check = check
        self._amend = amend
        self._scanner = RequestScanner()
        self._answered = 0
        self._ticket: Ticket | None = None
        self._held = bytearray()

    async def serve(self) -> None:
        """Carry both directions to their ends."""
        directions = asyncio.gather(self._outward(), self._inward())
        try:
            await directions
        except _RefusedError:
            directions.cancel()
            await self._drain()
        except BaseException:
            directions.cancel()
            raise
        finally:
            if self._ticket is not None:
                self._keeper.abandon(self._ticket)
            self._stream.close()

    async def _outward(self) -> None:
        while data := await self._reader.read(CHUNK):
            for item in self._scanner.feed(data):
                if isinstance(item, Call):
                    if (
                        item.number == self._answered + 1
                    ):  # else it is pipelined: whose answer comes is unknown
                        await self._admit(item)
                    await self._stream.write(item.head)
                elif isinstance(item, Creation):
                    refusal = self._check(item.body) if item.number == self._answered + 1 else None
                    if refusal is not None:
                        self._refuse(refusal, status=b"400 Bad Request")
                    await self._stream.write(with_body(item, self._amend(item.body)))
                else:
                    await self._stream.write(item)
        await self._stream.write(self._scanner.finish())
        await self._stream.end()

    async def _admit(self, call: Call) -> None:
        ticket = await self._keeper.before(call)
        if ticket.refusal is not None:
            self._refuse(ticket.refusal)
        self._ticket = ticket

    async def _inward(self) -> None:
        while data := await self._stream.read():
            if self._ticket is not None:
                self._held += data
                data = await self._checked(self._ticket)
                if not data:
                    continue
            self._answered = self._scanner.requests
            self._writer.write(data)
            await self._writer.drain()
        if self._held:
            self._writer.write(bytes(self._held))
        self._writer.write_eof()

    async def _checked(self, ticket: Ticket) -> bytes:
        """What may be passed to the client of an answer that is held; nothing while its head is not whole."""
        if _HEAD_END not in self._held and len(self._held) < _HEAD_LIMIT:
            return b""
        words = bytes(self._held[:32]).split(None, 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        refusal = await self._keeper.after(ticket, status)
        self._ticket = None
        if refusal is not None:
            self._refuse(refusal)
        data = bytes(self._held)
        self._held.clear()
        return data

    def _refuse(self, message: str, *, status: bytes = b"500 Internal Server Error") -> None:
        body = json.dumps({"message": message}).encode() + b"\n"
        self._writer.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % (status, len(body)) + body
        )
        raise _RefusedError

    async def _drain(self) -> None:
        """Take what the client still sends: closing before would destroy the answer."""
        with suppress(OSError):
            self._writer.write_eof()
            async with asyncio.timeout(_DRAIN_DEADLINE):
                while await self._reader.read(CHUNK):
                    pass
