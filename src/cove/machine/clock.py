# SPDX-License-Identifier: Apache-2.0
"""Keep the guest's clock right: when it starts, after the host slept, was set or stood still, and as it drifts.

A guest has no time server. Its clock goes wrong when the host's wall clock jumps against the steady one (which
stands still while the host sleeps), when the VMM is stopped and continued, and slowly, because a kernel
under emulation measures its processor's frequency badly; QEMU's clock chip also knows whole seconds only.
Of all but the last the host tells (:mod:`cove.system.clock_events`, SIGCONT, SIGCHLD); the drift is looked at once
a minute.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cove.errors import DeadlineError, GuestError
from cove.guest.client import GuestClient
from cove.system.clock_events import on_clock_jump

log = logging.getLogger("cove.clock")

ROUTINE = 60
"""Seconds between two looks at the guest's clock when nothing happened: bounds its drift."""

RETRY = 1.0
"""Seconds after which a guest that did not answer is asked again."""

TOLERANCE = 0.03
"""Seconds that the guest's clock may be off before it is set; it jumps then, which programs do not like."""

_JUMP = 0.02
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


def disturbance(before: Reading, after: Reading) -> str:
    """What happened between two readings that a guest's clock may not have survived; "" for nothing. Pure."""
    shift = (after.wall - before.wall) - (after.steady - before.steady)
    return f"the host slept or its clock was set: {shift:+.1f} s" if abs(shift) > _JUMP else ""


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

    It wakes when the host's clock jumped, when we or a child of ours were stopped and go on, and each :data:`ROUTINE`.

    Args:
        agent: the guest agent's socket.
    """

    def __init__(self, agent: Path) -> None:
        self._agent = GuestClient(agent, deadline=_DEADLINE)
        self._happened = asyncio.Event()
        self._reason = "the guest started"

    async def run(self) -> None:
        """Watch and correct until cancelled."""
        with ExitStack() as stack:
            stack.enter_context(_on_continue(self._notice))
            try:
                stack.enter_context(
                    on_clock_jump(partial(self._notice, "the host's clock jumped"), every=ROUTINE)
                )
            except OSError as error:
                log.warning(
                    "this host does not tell when its clock jumps (%s): looking each %d s", error, ROUTINE
                )
            while True:
                before = Reading.now()
                done = await self._check()
                # a check may take any time; what happened during it is a reason for the next one
                patience = ROUTINE if done else RETRY
                if not await _within(patience, self._happened.wait) and done:
                    self._reason = "a routine look"
                self._happened.clear()
                self._reason = disturbance(before, Reading.now()) or self._reason

    def _notice(self, reason: str) -> None:
        self._reason = reason
        self._happened.set()

    async def _check(self) -> bool:
        """Look at the guest's clock and set it; says whether that could be done."""
        reason = self._reason
        try:
            ahead = await asyncio.to_thread(partial(correct, self._agent))
        except (GuestError, DeadlineError) as error:
            log.warning("the guest's clock cannot be looked at (%s): %s", reason, error.message)
            return False
        if ahead:
            log.info("the guest's clock was off by %+.3f s and was set (%s)", ahead, reason)
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
def _on_continue(then: Callable[[str], None]) -> Iterator[None]:
    """Call ``then`` with a reason whenever we, or a child of ours, go on after a stop.

    Of children only Linux tells; elsewhere the routine finds it.
    """

    def look() -> None:
        try:
            # takes notices of this kind alone: how a child ended is asyncio's to learn
            while os.waitid(os.P_ALL, 0, os.WCONTINUED | os.WNOHANG) is not None:
                then("a child of ours was stopped and goes on")
        except ChildProcessError:
            pass

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCONT, partial(then, "we were stopped and go on"))
    if hasattr(os, "waitid"):
        loop.add_signal_handler(signal.SIGCHLD, look)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCONT)
        if hasattr(os, "waitid"):
            loop.remove_signal_handler(signal.SIGCHLD)
