# SPDX-License-Identifier: Apache-2.0
"""The work that goes on beside a running machine; see :class:`cove.machine.parts.Companion`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from cove.machine.parts import Companion

log = logging.getLogger("cove.supervisor")


class Company:
    """Companions at work. They come when the machine runs, and leave before it does not."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, companions: Iterable[Companion]) -> None:
        """Have them begin."""
        self._tasks += [asyncio.create_task(_accompany(one)) for one in companions]

    async def end(self) -> None:
        """Have all of them end; nobody being there is fine."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def _accompany(companion: Companion) -> None:
    try:
        await companion.run()
    except Exception:
        log.exception("%s ended; the machine goes on without it", type(companion).__name__)
