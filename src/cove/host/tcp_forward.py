# SPDX-License-Identifier: Apache-2.0
"""A TCP port of the host whose connections are carried into the guest."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from cove.host.carrying import Dial, Stream, give_back
from cove.host.ports import Target

log = logging.getLogger("cove.ports")

PIECE = 256 << 10
"""Bytes read at once."""


class TcpForward:
    """A TCP port.

    Args:
        listener: bound, and listening.
        dial: leads into the guest.
    """

    def __init__(self, listener: socket.socket, dial: Dial) -> None:
        self._listener = listener
        self._dial = dial
        self._target: Target | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._clients: set[asyncio.Task[None]] = set()

    def open(self, target: Target) -> None:
        """Serve clients by ``target`` from now on, also those that wait already."""
        self._target = target
        if self._accepting is None:
            self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Give the port back now, and hang up on its clients."""
        give_back(self._listener)
        for task in (self._accepting, *self._clients):
            if task is not None:
                task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                log.warning("a connection was not accepted: %s", error)
                await asyncio.sleep(0.1)  # out of descriptors: no event tells when one is free again
                continue
            task = asyncio.create_task(self._serve(client))
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)

    async def _serve(self, client: socket.socket) -> None:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            await self._carry(client)
        except (OSError, EOFError, ValueError) as error:
            log.debug("a forwarded connection broke: %s", error)
            _reset(client)
        except BaseException:
            _reset(client)
            raise
        finally:
            give_back(client)

    async def _carry(self, client: socket.socket) -> None:
        if self._target is None:
            return
        stream = await self._dial(self._target)
        inward = asyncio.ensure_future(_inward(stream, client))
        directions = asyncio.gather(_outward(client, stream), inward)
        try:
            await directions
        except (OSError, EOFError, ValueError):
            if not inward.done() or inward.exception() is not None:
                raise
            # the server has ended and the client goes on talking: it got all there is
        finally:
            directions.cancel()
            stream.close()


async def _outward(client: socket.socket, stream: Stream) -> None:
    # on the socket itself: asyncio's own streams copy every byte twice more
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(client, PIECE):
        await stream.write(data)
    await stream.end()


async def _inward(stream: Stream, client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await stream.read():
        await loop.sock_sendall(client, data)
    client.shutdown(socket.SHUT_WR)


def _reset(client: socket.socket) -> None:
    """Let a connection end so that its client sees an error, and takes half an answer for no whole one."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
