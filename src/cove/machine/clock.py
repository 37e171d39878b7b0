# SPDX-License-Identifier: Apache-2.0
"""Keep the guest's clock right: when it starts, after the host slept, was set or stood still, and as it drifts.

A guest has no time server. Its clock goes wrong when the host's wall clock jumps against the steady one (which
stands still while the host sleeps), when the VMM is stopped and continued, and slowly, because a kernel
under emulation measures its processor's frequency badly; QEMU's clock chip also knows whole seconds only.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cove.errors import DeadlineError, GuestError
from cove.guest.client import GuestClient

log = logging.getLogger("cove.clock")

TICK = 1.0
"""Seconds between two looks at the host's clocks. No event tells that we ourselves were stopped."""

ROUTINE = 60.0
"""Seconds between two looks at the guest's clock when nothing happened: bounds its drift."""

TOLERANCE = 0.03
"""Seconds that the guest's clock may be off before it is set; it jumps then, which programs do not like."""

_JUMP = 0.02
_PAUSE = 0.5
_PROBES = 3
_TRIES = 3
_DEADLINE = 3.0


@dataclass(frozen=True)
class Reading:
    """The host's clocks at one moment, in seconds.

    Args:
        wall: since the epoch; can be set, and goes on while the host sleeps.
        steady: since some time; never set, and stands still while the host sleeps.
    """

    wall: float
    steady: float

    @classmethod
    def now(cls) -> Reading:
        """Both clocks, now."""
        return cls(time.time(), time.monotonic())


def disturbance(before: Reading, after: Reading, expected: float) -> str:
    """What happened between two readings that a guest's clock may not have survived; "" for nothing. Pure.

    Args:
        before: the earlier reading.
        after: the later one.
        expected: seconds that should at most lie between them.
    """
    passed = after.steady - before.steady
    shift = (after.wall - before.wall) - passed
    if abs(shift) > _JUMP:
        return f"the host slept or its clock was set: {shift:+.1f} s"
    if passed > expected + _PAUSE:
        return f"everything stood still for {passed - expected:.1f} s"
    return ""


class Agent(Protocol):
    """What is needed of :class:`cove.guest.client.GuestClient`."""

    def call(self, op: str, **args: object) -> dict[str, Any]:
        """One operation of the guest's agent."""


def offset(agent: Agent, *, wall: Callable[[], float] = time.time) -> tuple[float, float]:
    """How far the guest's clock is ahead of the host's, and how far this can be wrong, in seconds.

    Raises:
        GuestError, DeadlineError: the guest does not answer.
    """
    best = (0.0, float("inf"))
    for _ in range(_PROBES):
        asked = wall()
        there = float(agent.call("clock_get")["seconds"])
        half = (wall() - asked) / 2
        if 0 <= half < best[1]:
            best = (there - asked - half, half)
    return best


def correct(agent: Agent, *, wall: Callable[[], float] = time.time) -> float:
    """Set the guest's clock if it is off; returns how far it was ahead, in seconds, 0 when it was right.

    Raises:
        GuestError, DeadlineError: the guest does not answer.
    """
    first = 0.0
    for _ in range(_TRIES):
        ahead, doubt = offset(agent, wall=wall)
        if abs(ahead) <= TOLERANCE + doubt:
            return first
        first = first or ahead
        agent.call("clock", seconds=wall() + doubt)
    return first


class ClockKeeper:
    """Keeps one guest's clock right; a companion of the supervisor, see :class:`cove.machine.parts.Companion`.

    It wakes each :data:`TICK`, and at once when a child of ours was stopped and goes on (SIGCHLD).

    Args:
        agent: the guest agent's socket.
    """

    def __init__(self, agent: Path) -> None:
        self._agent = GuestClient(agent, deadline=_DEADLINE)
        self._continued = asyncio.Event()
        self._reason = "the guest started"

    async def run(self) -> None:
        """Watch and correct until cancelled."""
        with _on_continue(self._continued.set):
            before = Reading.now()
            checked = before.steady
            while True:
                if self._reason and await self._check():
                    self._reason, checked = "", before.steady
                begun = Reading.now()
                went_on = await _within(TICK, self._continued.wait)
                after = Reading.now()
                # a check may take any time, a tick may not
                during_check = disturbance(before, begun, math.inf)
                self._reason = self._reason or during_check or disturbance(begun, after, TICK)
                before = after
                if went_on:
                    self._continued.clear()
                    self._reason = "a child of ours was stopped and goes on"
                elif not self._reason and after.steady - checked >= ROUTINE:
                    self._reason = "a routine look"

    async def _check(self) -> bool:
        """Look at the guest's clock and set it; says whether that could be done."""
        try:
            ahead = await asyncio.to_thread(partial(correct, self._agent))
        except (GuestError, DeadlineError) as error:
            log.warning("the guest's clock cannot be looked at (%s): %s", self._reason, error.message)
            return False
        if ahead:
            log.info("the guest's clock was off by %+.3f s and was set (%s)", ahead, self._reason)
        return True


async def _within(seconds: float, wait: Callable[[], Awaitable[object]]) -> bool:
    """Wait at most ``seconds``; says whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await wait()
    except TimeoutError:
        return False
    return True


@contextmanager
def _on_continue(then: Callable[[], None]) -> Iterator[None]:
    """Call ``then`` whenever a child goes on after it was stopped; where the system tells of that (Linux)."""
    if not hasattr(os, "waitid"):
        yield
        return

    def look() -> None:
        try:
            # takes notices of this kind alone: how a child ended is asyncio's to learn
            while os.waitid(os.P_ALL, 0, os.WCONTINUED | os.WNOHANG) is not None:
                then()
        except ChildProcessError:
            pass

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, look)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)
