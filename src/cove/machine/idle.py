# SPDX-License-Identifier: Apache-2.0
"""Suspend a machine in which nothing has happened for some minutes; the next client wakes it.

Nothing happens when no container runs, no client of the engine is connected, and nobody is in a shell of the guest.
Events tell of the first two; only a shell is looked for again and again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from cove.errors import CoveError, DeadlineError, GuestError
from cove.guest.client import GuestClient
from cove.host.engine_calls import EngineCalls

log = logging.getLogger("cove.idle")

_BUSY_DEADLINE = 10.0
_LOOK_AGAIN = 60.0
"""Seconds until a guest in which somebody has a shell, or which did not answer, is looked at again."""


class Clients:
    """How many clients the engine has, and that they come and go."""

    def __init__(self) -> None:
        self.count = 0
        self._news = asyncio.Event()

    def changed(self, count: int) -> None:
        """So many there are now."""
        self.count = count
        self._news.set()

    async def news(self) -> None:
        """Wait until one comes or goes."""
        self._news.clear()
        await self._news.wait()


class IdleWatch:
    """Watches one machine; see :class:`cove.machine.parts.Companion`.

    Args:
        minutes: how long nothing must happen; 0 for ever.
        engine: asked for containers.
        agent: the guest agent's socket.
        clients: of the engine, on the host.
        unit: seconds of a minute.

    Attributes:
        suspend: suspends the machine; to be set before it runs.
    """

    def __init__(
        self,
        minutes: int,
        engine: EngineCalls,
        agent: Path,
        clients: Clients,
        *,
        unit: float = 60.0,
    ) -> None:
        self._minutes = minutes
        self._engine = engine
        self._agent = agent
        self._clients = clients
        self.suspend: Callable[[], Awaitable[None]] = _nobody
        self._unit = unit
        self._changed = asyncio.Event()

    def set_minutes(self, minutes: int) -> None:
        """Change how long nothing must happen, from now on."""
        self._minutes = minutes
        self._changed.set()

    async def run(self) -> None:
        """Watch until cancelled, as a suspension does."""
        while True:
            self._changed.clear()
            watching = asyncio.ensure_future(self._watch())
            changing = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({watching, changing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (watching, changing):
                    task.cancel()
                await asyncio.gather(watching, changing, return_exceptions=True)

    async def _watch(self) -> None:
        while self._minutes > 0:
            await self._until_quiet(self._minutes * self._unit)
            try:
                if await self._something_runs():
                    continue
                log.info("nothing happened for %d minutes", self._minutes)
                await self.suspend()
            except CoveError as error:
                log.warning("%s", error.message)
                await asyncio.sleep(_LOOK_AGAIN)
        await asyncio.Event().wait()

    async def _until_quiet(self, seconds: float) -> None:
        """Wait until there has been no client for so long."""
        while True:
            try:
                async with asyncio.timeout(None if self._clients.count else seconds):
                    await self._clients.news()
            except TimeoutError:
                return

    async def _something_runs(self) -> bool:
        """Whether a container runs, or somebody is in the guest; returns then when that may have changed.

        Raises:
            EngineError: the engine does not answer.
        """
        if await self._engine.running():
            async for event in self._engine.events(type=["container"], event=["die"]):
                # what ended before we listened is not told
                if event or not await self._engine.running():
                    return True
            return True
        client = GuestClient(self._agent, deadline=_BUSY_DEADLINE)
        try:
            busy = (await asyncio.to_thread(partial(client.call, "busy")))["sessions"]
        except (GuestError, DeadlineError) as error:
            log.info("the guest does not tell whether somebody is in it: %s", error.message)
            busy = 1
        if busy:
            await asyncio.sleep(_LOOK_AGAIN)
        return bool(busy)


async def _nobody() -> None:
    """Suspends nothing."""
