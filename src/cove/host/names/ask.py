# SPDX-License-Identifier: Apache-2.0
"""Ask name servers: each in turn, the next one as soon as one fails or takes long, and the first good answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cove.host.names.message import NO_ERROR, NO_SUCH_NAME, answers, code

PATIENCE = 1.0
"""Seconds without an answer after which the next server is asked too."""

DEADLINE = 5.0
"""Seconds after which a question is given up: those who asked give up then, too."""


async def ask(
    servers: Sequence[str], port: int, query: bytes, *, stream: bool, patience: float = PATIENCE
) -> bytes | None:
    """Pass a question on as it is.

    Args:
        servers: addresses, best first.
        port: where they listen.
        query: the message.
        stream: ask over TCP, for answers of any length.
        patience: seconds; see :data:`PATIENCE`.

    Returns:
        the first answer that says what the name is or that there is none; else the last one that came, else None.
    """
    last: bytes | None = None
    running: set[asyncio.Task[bytes | None]] = set()
    try:
        async with asyncio.timeout(DEADLINE):
            left = list(servers)
            while left or running:
                if left:
                    running.add(asyncio.create_task(_ask_one(left.pop(0), port, query, stream=stream)))
                done, running = await asyncio.wait(
                    running, timeout=patience if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                for answer in [task.result() for task in done]:
                    if answer is not None and code(answer) in (NO_ERROR, NO_SUCH_NAME):
                        return answer
                    last = answer or last
    except TimeoutError:
        pass
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return last


async def _ask_one(server: str, port: int, query: bytes, *, stream: bool) -> bytes | None:
    """One server's answer, or None if it cannot be had."""
    try:
        if stream:
            return await _over_tcp(server, port, query)
        return await _over_udp(server, port, query)
    except (OSError, EOFError):
        return None


async def _over_udp(server: str, port: int, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    # a socket, and so a port, of its own for each question: answers cannot be forged by who does not see it
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: _Answer(query), remote_addr=(server, port)
    )
    try:
        transport.sendto(query)
        return await protocol.came
    finally:
        transport.close()


async def _over_tcp(server: str, port: int, query: bytes) -> bytes | None:
    reader, writer = await asyncio.open_connection(server, port)
    try:
        writer.write(len(query).to_bytes(2) + query)
        await writer.drain()
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        return answer if answers(query, answer) else None
    finally:
        writer.close()


class _Answer(asyncio.DatagramProtocol):
    """Waits for the answer to one question; others are not heard."""

    def __init__(self, query: bytes) -> None:
        self._query = query
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        if not self.came.done() and answers(self._query, data):
            self.came.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there (ICMP)."""
        if not self.came.done():
            self.came.set_exception(exc)
