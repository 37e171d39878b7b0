# SPDX-License-Identifier: Apache-2.0
"""Keeps the host's ports as the containers want them: asked by the engine's front, and told by the engine's events.

The front asks before a container is started, so that a port that is taken on the host is told as dockerd tells it,
and after it was, so that the port answers when the client learns that the container runs. Everything else
(restart policies, containers that end, an engine that died) comes through events; nothing is polled.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from cove.errors import CoveError
from cove.guest.relay import Stream, Tunnel, tcp, udp
from cove.host.engine_calls import EngineCalls
from cove.host.http_scan import Action, Call
from cove.host.port_table import PortTable
from cove.host.ports import Container, HostPort, Target, advice, read_container, refusal
from cove.machine.gate import Gate
from cove.machine.host_network import HostNetwork
from cove.machine.port_ticket import Ticket

log = logging.getLogger("cove.ports")

PATIENCE = 10.0
"""Seconds after its start in which a container that refuses a connection is tried again: its server is starting."""

_AGAIN = 0.5
"""Seconds before the events are asked for again; while docker's socket is gone, the guest's relay waits for it."""

_STARTED = 204
"""The status of a request that started a container; 304 is that it ran already."""

_PREPARE_DEADLINE = 10.0

_EVENTS = ["start", "die", "destroy", "connect", "disconnect"]


class PortKeeper:
    """The published ports of one machine.

    Args:
        tunnel: the way into the guest.
        engine: the engine in it.

    Attributes:
        report: told all ports, as JSON data, whenever they change.
    """

    def __init__(self, tunnel: Tunnel, engine: EngineCalls, gate: Gate | None = None) -> None:
        self.report: Callable[[list[dict[str, Any]]], None] = _nobody
        self._gate = gate or Gate()
        self._tunnel = tunnel
        self._table = PortTable(self._dial)
        self._engine = engine
        self._known: dict[str, Container] = {}
        self._portless: set[str] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self._starting: Counter[str] = Counter()
        self._fresh: dict[str, float] = {}
        self._told: list[dict[str, Any]] = []
        self._host_network = HostNetwork(tunnel, self._table, self._tell)
        self._loose: set[asyncio.Task[None]] = set()

    async def before(self, call: Call) -> Ticket:
        """To be asked before a request is passed on. The ports of a container to be started are taken."""
        if call.action not in (Action.START, Action.RESTART):
            return Ticket(call=call)
        try:
            container = await self._look(call.container)
            if container is None or container.id in self._portless:
                return Ticket(call=call)
            self._starting[container.id] += 1
            conflict = await self._take(container) if not container.running else None
            if conflict is None:
                return Ticket(call=call, container=container)
            self._started(container.id)
            if container.auto_remove:  # as dockerd does; docker run --rm waits for it
                await self._engine.remove(container.id)
            return Ticket(call=call, refusal=conflict)
        except CoveError as error:
            log.warning("%s: %s", call.container, error.message)
            return Ticket(call=call)

    async def after(self, ticket: Ticket, status: int) -> str | None:
        """To be asked when a request was answered, before the client learns it.

        Args:
            ticket: what :meth:`before` returned.
            status: the answer's, or 0 if there was none.

        Returns:
            why it is an error after all, in dockerd's words. The container was stopped then.
        """
        container = ticket.container
        try:
            if container is not None:
                return await self._after_start(container, status)
            if ticket.call.action in (Action.STOP, Action.KILL, Action.REMOVE):
                for each in [each for each in self._known.values() if _is(each, ticket.call.container)]:
                    await self._settle(each.id)
        except CoveError as error:
            log.warning("%s: %s", ticket.call.container, error.message)
        return None

    def abandon(self, ticket: Ticket) -> None:
        """To be told instead of :meth:`after` when the client is gone: nobody wants to wait."""
        task = asyncio.create_task(self._forget(ticket))
        self._loose.add(task)
        task.add_done_callback(self._loose.discard)

    async def reconcile(self) -> None:
        """Bring all ports in line with what runs.

        Raises:
            CoveError: the engine does not say what runs.
        """
        running = await self._engine.running()
        for container in dict.fromkeys([*running, *self._table.holders(), *self._known]):
            await self._settle_or_log(container)

    async def prepare(self) -> None:
        """Before the machine is said to run: the ports of containers that docker itself brought back."""
        try:
            async with asyncio.timeout(_PREPARE_DEADLINE):
                await self.reconcile()
        except (CoveError, TimeoutError) as error:
            log.warning("ports of running containers come later: %s", error)

    async def run(self) -> None:
        """Follow the engine's events until cancelled; gives all ports back then, unless the guest only sleeps."""
        try:
            while True:
                try:
                    await self._follow()
                except CoveError as error:
                    log.info("%s", error.message)
                await asyncio.sleep(_AGAIN)
        finally:
            if not self._gate.closed:
                self.close()

    def close(self) -> None:
        """Give all ports back."""
        self._host_network.close()
        for task in self._loose:
            task.cancel()
        self._table.close()

    async def _follow(self) -> None:
        async for event in self._engine.events(type=["container", "network"], event=_EVENTS):
            if not event:  # from here on we miss nothing
                await self.reconcile()
                continue
            actor = event.get("Actor") or {}
            network = event.get("Type") == "network"
            container = (actor.get("Attributes") or {}).get("container") if network else actor.get("ID")
            if event.get("Action") == "destroy":
                self._portless.discard(container)
            if container and container not in self._portless and (container in self._known or not network):
                await self._settle_or_log(container)

    async def _look(self, name: str) -> Container | None:
        """Ask the engine about a container, and remember whether it wants anything of the host."""
        info = await self._engine.inspect(name)
        if info is None:
            return None
        container = read_container(info)
        if container.publishes or container.host_network:
            self._known[container.id] = container
        else:
            self._portless.add(container.id)
        return container

    async def _take(self, container: Container) -> str | None:
        """Take the ports whose numbers are known; returns the refusal if one cannot be had."""
        async with self._lock(container.id):
            await self._clear_way(container.id, container.fixed)
            failed = self._table.take(container.id, container.fixed)
        return None if failed is None else _refuse(container, *failed)

    async def _after_start(self, container: Container, status: int) -> str | None:
        try:
            failed = await self._settle(container.id, ended=status >= 400)
        finally:
            self._started(container.id)
        if not failed or status != _STARTED:
            return None
        said = _refuse(container, *next(iter(failed.items())))
        await self._engine.stop(container.id)
        await self._settle(container.id)
        return said

    async def _forget(self, ticket: Ticket) -> None:
        if ticket.container is not None:
            self._started(ticket.container.id)
            await self._settle_or_log(ticket.container.id)

    def _started(self, id_: str) -> None:
        """A start that we were asked about is over, whatever came of it."""
        self._starting[id_] -= 1
        if self._starting[id_] <= 0:
            del self._starting[id_]

    async def _settle_or_log(self, container: str) -> None:
        try:
            await self._settle(container)
        except CoveError as error:
            log.warning("%.12s: %s", container, error.message)

    async def _settle(self, id_: str, *, ended: bool = False) -> dict[HostPort, OSError]:
        """Bring the ports of one container in line with how it is.

        Args:
            id_: the container.
            ended: it could not be started: what was taken for it is given back.

        Returns:
            the ports that it has and the host cannot give.
        """
        async with self._lock(id_):
            before = self._known.get(id_)
            container = await self._look(id_)
            if container is None or not container.running:
                if ended or not self._starting[id_]:
                    self._release(id_, forget=container is None)
                return {}
            if container.host_network:
                self._host_network.add(id_)
            if not container.publishes:
                return {}
            if before is None or before.started != container.started:
                self._be_patient(container)
            await self._clear_way(id_, container.published)
            failed = self._table.settle(id_, container.published)
            for port, error in failed.items():
                _refuse(container, port, error)
            self._tell()
            return failed

    def _release(self, id_: str, *, forget: bool) -> None:
        self._table.settle(id_, {})
        self._host_network.discard(id_)
        if forget:
            self._known.pop(id_, None)
            self._locks.pop(id_, None)
        self._tell()

    def _be_patient(self, container: Container) -> None:
        now = asyncio.get_running_loop().time()
        self._fresh = {address: until for address, until in self._fresh.items() if until > now}
        self._fresh |= {target.address: now + PATIENCE for target in container.published.values()}

    async def _clear_way(self, id_: str, ports: Iterable[HostPort]) -> None:
        """Take ports from containers of ours that have ended and whose event is still on its way."""
        holders = {self._table.holder(port) for port in ports} - {None, id_}
        for holder in holders:
            other = await self._look(str(holder))
            if (other is None or not other.running) and not self._starting[str(holder)]:
                self._release(str(holder), forget=other is None)

    def _tell(self) -> None:
        """Report the ports if they have changed."""
        ports = self._table.describe({each.id: each.name for each in self._known.values()})
        if ports != self._told:
            self._told = ports
            self.report(ports)

    def _lock(self, id_: str) -> asyncio.Lock:
        return self._locks.setdefault(id_, asyncio.Lock())

    async def _dial(self, target: Target) -> Stream:
        await self._gate.passed()
        if target.protocol == "udp":
            return await self._tunnel.open(udp(target.address, target.port))
        patience = self._fresh.get(target.address, 0.0) - asyncio.get_running_loop().time()
        return await self._tunnel.open(tcp(target.address, target.port, patience=patience))


def _nobody(_ports: list[dict[str, Any]]) -> None:
    """Takes a report that nobody wants."""


def _is(container: Container, name: str) -> bool:
    """Whether a client means this container by ``name``."""
    return name in (container.name, container.id) or (len(name) > 2 and container.id.startswith(name))


def _refuse(container: Container, port: HostPort, error: OSError) -> str:
    """Log that a port cannot be had, with what to do; returns dockerd's words for it.

    What is for root alone is said to the user, too: other systems' engines run as root, and never say so.
    """
    number = error.errno or 0
    why = advice(port, number, mac=sys.platform == "darwin")
    log.warning("%s cannot have %s/%s: %s", container.name, port, port.protocol, why)
    words = refusal(container, port, number)
    return f"{words} ({why})" if number in (errno.EACCES, errno.EPERM) else words
