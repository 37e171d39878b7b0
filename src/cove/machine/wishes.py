# SPDX-License-Identifier: Apache-2.0
"""What is asked of a supervisor while it works: to stop, once and for all; to suspend, answered each time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from cove.errors import CoveError

STOP_DEADLINE = 30.0
"""Seconds that a stop may take if nobody says otherwise."""


class Wishes:
    """Wishes that have not been met yet."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._suspensions: list[tuple[asyncio.Future[None], bool]] = []
        self.stop = False
        """Whether a stop was asked for."""
        self.deadline = STOP_DEADLINE
        """Seconds that it may take."""

    def ask_to_stop(self, deadline: float) -> None:
        """Ask for a stop that may take ``deadline`` seconds."""
        self.stop, self.deadline = True, deadline
        self._asked.set()

    async def ask_to_suspend(self, *, asleep: bool) -> None:
        """Ask for a suspension; returns when it was done.

        Args:
            asleep: the supervisor shall stay, to wake the guest.

        Raises:
            CoveError: what kept it from being done.
        """
        done = asyncio.get_running_loop().create_future()
        self._suspensions.append((done, asleep))
        self._asked.set()
        await done

    @property
    def suspend(self) -> bool:
        """Whether a suspension was asked for."""
        return bool(self._suspensions)

    def take_suspensions(self) -> Suspensions:
        """All that were asked for, to be met together. Nothing is asked for then, but maybe a stop."""
        taken = Suspensions(self._suspensions)
        self._suspensions = []
        if not self.stop:
            self._asked.clear()
        return taken

    async def or_leave(self, work: Coroutine[None, None, None]) -> None:
        """Do ``work``, but leave it as soon as something is asked for."""
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self._asked.wait())
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not task.done():
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            if not self._asked.is_set():
                raise


class Suspensions:
    """Wishes for a suspension that are about to be met."""

    def __init__(self, wishes: list[tuple[asyncio.Future[None], bool]]) -> None:
        self._wishes = wishes

    @property
    def asleep(self) -> bool:
        """Whether the supervisor shall stay, to wake the guest: if nobody wants it gone."""
        return all(asleep for _, asleep in self._wishes)

    def __bool__(self) -> bool:
        return bool(self._wishes)

    def answer(self, error: CoveError | None = None) -> None:
        """Tell who asked what came of it; some may be gone."""
        for one, _ in self._wishes:
            if not one.done():
                one.set_exception(error) if error is not None else one.set_result(None)
