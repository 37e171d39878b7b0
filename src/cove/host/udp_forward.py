# SPDX-License-Identifier: Apache-2.0
"""A UDP port of the host whose datagrams are carried into the guest."""

from __future__ import annotations

import asyncio
import logging
import socket

from cove.host.carrying import Dial, Stream, give_back
from cove.host.ports import Target

log = logging.getLogger("cove.ports")

FLOW_IDLE = 90.0
"""Seconds after which a silent UDP client is forgotten; docker's own proxy has the same (UDPConnTrackTimeout)."""

FLOWS = 1024
"""UDP clients of one port at a time; datagrams of more are lost."""

_WAITING = 64
"""Datagrams of one client that may wait for the guest; more are lost."""


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
        give_back(self._listener)
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
