# SPDX-License-Identifier: Apache-2.0
"""Listeners on the host whose connections and datagrams are carried into the guest.

A port is taken in two steps: it is bound, and from then on nobody else can have it and clients wait in its queue;
and later it is opened, when what it leads to is there.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Protocol

from cove.host.ports import HostPort, Target

log = logging.getLogger("cove.ports")

BACKLOG = 1024
"""Connections that may wait to be accepted."""

PIECE = 256 << 10
"""Bytes read at once."""

FLOW_IDLE = 90.0
"""Seconds after which a silent UDP client is forgotten; docker's own proxy has the same (UDPConnTrackTimeout)."""

FLOWS = 1024
"""UDP clients of one port at a time; datagrams of more are lost."""

_WAITING = 64
"""Datagrams of one client that may wait for the guest; more are lost."""

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Stream(Protocol):
    """One connection into the guest; see :class:`cove.guest.relay.Stream`."""

    async def read(self) -> bytes:
        """The next bytes, or none at the end."""

    async def message(self) -> bytes:
        """The next message, whole, or none at the end."""

    async def write(self, data: bytes) -> None:
        """Send a piece, which is one message."""

    async def end(self) -> None:
        """Nothing more will be sent."""

    def close(self) -> None:
        """Hang up."""


Dial = Callable[[Target], Awaitable[Stream]]
"""Makes a connection to a target in the guest."""


class Forward(Protocol):
    """One bound port."""

    def open(self, target: Target) -> None:
        """Serve clients by ``target`` from now on; those that are served already stay where they are."""

    def close(self) -> None:
        """Give the port back now, and hang up on its clients."""


def bind(port: HostPort, dial: Dial) -> Forward | None:
    """Take a port of the host.

    Returns:
        the port, or None for "all of IPv6" on a host that has none.

    Raises:
        OSError: it cannot be had: taken, not permitted, no address of this host.
    """
    try:
        listener = _listener(port)
    except OSError as error:
        if port.address == "::" and error.errno in _NO_SUCH_FAMILY:
            return None
        raise
    return TcpForward(listener, dial) if port.protocol == "tcp" else UdpForward(listener, dial)


def _listener(port: HostPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.protocol == "tcp":  # with UDP it would let two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((port.address, port.port))
        if port.protocol == "tcp":
            listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _give_back(listener: socket.socket) -> None:
    """Close a socket on which a task waits; its number may be used again before that task learns of it."""
    if listener.fileno() >= 0:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.remove_writer(listener)
        listener.close()


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
        _give_back(self._listener)
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
            _give_back(client)

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


class UdpForward:
    """A UDP port: each client is one flow into the guest, until it was silent for a while.

    Args:
        listener: bound.
        dial: leads into the guest.
        idle: seconds of silence in both directions that end a flow.
    """

    def __init__(self, listener: socket.socket, dial: Dial, *, idle: float = FLOW_IDLE) -> None:
        self._listener = listener
        self._dial = dial
        self._idle = idle
        self._target: Target | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._flows: dict[object, _Flow] = {}

    def open(self, target: Target) -> None:
        """Serve clients by ``target`` from now on; flows to an earlier one end."""
        if self._target not in (None, target):
            for flow in list(self._flows.values()):
                flow.task.cancel()
        self._target = target
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._receive())

    def close(self) -> None:
        """Give the port back now, and end all flows."""
        _give_back(self._listener)
        for task in (self._receiving, *(flow.task for flow in self._flows.values())):
            if task is not None:
                task.cancel()

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data, client = await loop.sock_recvfrom(self._listener, 65536)
            except OSError as error:
                log.debug("a datagram was not received: %s", error)  # ICMP: an earlier answer met nobody
                continue
            flow = self._flows.get(client)
            if flow is None or flow.task.done():
                if len(self._flows) >= FLOWS or self._target is None:
                    continue
                flow = self._flows[client] = _Flow()
                flow.task = asyncio.create_task(self._carry(flow, client, self._target))
            if not flow.waiting.full():
                flow.waiting.put_nowait(data)

    async def _carry(self, flow: _Flow, client: object, target: Target) -> None:
        try:
            stream = await self._dial(target)
            directions = None
            try:
                async with asyncio.timeout(self._idle) as flow.deadline:
                    directions = asyncio.gather(
                        self._outward(flow, stream), self._inward(flow, stream, client)
                    )
                    await directions
            finally:
                if directions is not None:
                    directions.cancel()
                stream.close()
        except (OSError, EOFError, ValueError) as error:
            log.debug("a flow of datagrams ended: %s", error)
        finally:
            if self._flows.get(client) is flow:
                del self._flows[client]

    async def _outward(self, flow: _Flow, stream: Stream) -> None:
        while True:
            data = await flow.waiting.get()
            flow.touch(self._idle)
            await stream.write(b"\0" + data)

    async def _inward(self, flow: _Flow, stream: Stream, client: object) -> None:
        loop = asyncio.get_running_loop()
        while message := await stream.message():
            flow.touch(self._idle)
            try:
                await loop.sock_sendto(self._listener, message[1:], client)  # type: ignore[arg-type]
            except OSError as error:
                log.debug("a datagram was not sent: %s", error)


class _Flow:
    """One client of a UDP port."""

    task: asyncio.Task[None]
    deadline: asyncio.Timeout

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)

    def touch(self, idle: float) -> None:
        """Note that something came or went: it may be silent for ``idle`` seconds from now."""
        if not self.deadline.expired():
            self.deadline.reschedule(asyncio.get_running_loop().time() + idle)
