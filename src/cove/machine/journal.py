# SPDX-License-Identifier: Apache-2.0
"""What happened during a start, in order, for any number of listeners, from its beginning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

from cove.errors import CoveError

JsonObject = dict[str, object]


class Journal:
    """The events of one start. The last one is ``running`` or ``failed``."""

    def __init__(self) -> None:
        self._events: list[JsonObject] = []
        self._news = asyncio.Condition()
        self._ended = False
        self._stage: tuple[str, float] | None = None
        self._waiting: set[asyncio.Task[None]] = set()
        self.times: list[tuple[str, float]] = []

    def begin(self, name: str, label: str) -> None:
        """A stage began."""
        self._stage = (name, monotonic())
        self._add({"event": "stage-begun", "name": name, "label": label})

    def end(self, *, ok: bool = True) -> None:
        """The stage that began last ended."""
        if self._stage is not None:
            name, begun = self._stage
            self._stage = None
            seconds = monotonic() - begun
            self.times.append((name, round(seconds, 3)))
            self._add({"event": "stage-ended", "name": name, "seconds": seconds, "ok": ok})

    def running(self) -> None:
        """The start succeeded."""
        self._ended = True
        self._add({"event": "running"})

    def failed(self, error: CoveError) -> None:
        """The start failed."""
        self.end(ok=False)
        self._ended = True
        self._add({"event": "failed", "error": error.as_dict()})

    async def follow(self) -> AsyncIterator[JsonObject]:
        """All events from the first to the last, waiting for those to come."""
        seen = 0
        while True:
            while seen < len(self._events):
                yield self._events[seen]
                seen += 1
            if self._ended:
                return
            async with self._news:
                while len(self._events) == seen and not self._ended:
                    await self._news.wait()

    def _add(self, event: JsonObject) -> None:
        self._events.append(event)
        task = asyncio.ensure_future(self._notify())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()
