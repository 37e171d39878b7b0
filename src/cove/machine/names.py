# SPDX-License-Identifier: Apache-2.0
"""Answers the guest's questions for names with this host's resolver, and tells the guest the host's search domains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from pathlib import Path

from cove.errors import DeadlineError, GuestError
from cove.guest.client import GuestClient
from cove.guest.relay import NAMES, Stream, Tunnel
from cove.host.names.resolver import Resolver

log = logging.getLogger("cove.names")

AT_ONCE = 256
"""Questions that are asked at a time; more wait in the guest."""

_AGAIN = 0.5
"""Seconds before the guest is asked again for questions, after its agent ended."""

_TOKEN = 4
_TELL_DEADLINE = 10.0


class NameKeeper:
    """The names of one machine; see :class:`cove.machine.parts.Companion`.

    Args:
        tunnel: the way into the guest.
        agent: the guest agent's socket.
        resolver: who knows.
    """

    def __init__(self, tunnel: Tunnel, agent: Path, resolver: Resolver) -> None:
        self._tunnel = tunnel
        self._agent = agent
        self._resolver = resolver
        self._told: tuple[str, ...] | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            while True:
                try:
                    await self._follow()
                except (OSError, EOFError, ValueError) as error:
                    log.info("the guest does not ask for names: %s", error)
                await asyncio.sleep(_AGAIN)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        stream = await self._tunnel.open(NAMES)
        try:
            self._told = None
            self._begin(self._tell_search())
            while message := await stream.message():
                await self._slots.acquire()
                self._begin(self._answer(stream, message))
        finally:
            stream.close()

    async def _answer(self, stream: Stream, message: bytes) -> None:
        try:
            token, way, query = message[:_TOKEN], message[_TOKEN:][:1], message[_TOKEN + 1 :]
            answer = await self._resolver.answer(query, stream=way == b"\1")
            await stream.write(token + answer)
            if self._resolver.conf.search != self._told:
                await self._tell_search()
        except OSError as error:
            log.debug("an answer was not taken: %s", error)
        finally:
            self._slots.release()

    async def _tell_search(self) -> None:
        """Let the guest, and containers that start from now on, complete short names as this host does."""
        former, self._told = self._told, self._resolver.conf.search
        if not former and not self._told:
            return
        client = GuestClient(self._agent, deadline=_TELL_DEADLINE)
        try:
            await asyncio.to_thread(partial(client.call, "search", domains=list(self._told)))
        except (GuestError, DeadlineError) as error:
            self._told = former
            log.warning("the guest was not told the search domains: %s", error.message)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
