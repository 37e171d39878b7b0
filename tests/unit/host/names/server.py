# SPDX-License-Identifier: Apache-2.0
"""A name server on the loopback, UDP and TCP, that knows some names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import cast

from cove.host.names.message import NO_SUCH_NAME, read_question, reply


class NameServer(asyncio.DatagramProtocol):
    """Answers A questions from a table; a name in it without an address is not answered at all.

    Args:
        names: addresses by name.
        code: instead of any answer.
        large: bytes that an answer is filled up with over TCP.
    """

    def __init__(self, names: Mapping[str, str | None], *, code: int | None = None, large: int = 0) -> None:
        self.names = names
        self.code = code
        self.large = large
        self.asked: list[str] = []
        self.address = "127.0.0.1"
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # 3.11's own says that it is none

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.answer(data)
        if answer is not None:
            self.transport.sendto(answer, addr)

    def answer(self, query: bytes) -> bytes | None:
        question = read_question(query)
        assert question is not None
        self.asked.append(question.name)
        if self.code is not None:
            return reply(query, question, code=self.code)
        if question.name not in self.names:
            return reply(query, question, code=NO_SUCH_NAME)
        address = self.names[question.name]
        return reply(query, question, [IPv4Address(address)]) if address else None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        answer = (self.answer(query) or b"") + bytes(self.large)
        writer.write(len(answer).to_bytes(2) + answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def name_server(
    server: NameServer, address: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[NameServer]:
    """Let it listen, for UDP and TCP at the same port."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server((address, port))
    server.address, server.port = listener.getsockname()[:2]
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=(address, server.port))
    streams = await asyncio.start_server(server.serve, sock=listener)
    try:
        yield server
    finally:
        transport.close()
        streams.close()
        await streams.wait_closed()
