# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import GuestError
from cove.machine import clock
from cove.machine.clock import ClockKeeper, Reading, correct, disturbance, offset

STEPS = st.floats(0, 1e6)


class World:
    """A host's clock and a guest with one of its own, to which every message takes a while."""

    def __init__(self, ahead: float, delay: float = 0.0) -> None:
        self.host = 1_700_000_000.0
        self.ahead = ahead
        self.delay = delay
        self.calls: list[str] = []

    def wall(self) -> float:
        return self.host

    def call(self, op: str, **args: Any) -> dict[str, Any]:
        self.calls.append(op)
        self.host += self.delay
        if op == "clock":
            self.ahead = args["seconds"] - self.host
        answer = {"seconds": self.host + self.ahead}
        self.host += self.delay
        return answer


@given(STEPS, st.floats(-0.01, 0.01))
def test_time_that_passes_evenly_is_nothing(passed: float, slew: float) -> None:
    after = Reading(1e9 + passed + slew, 5.0 + passed)
    assert disturbance(Reading(1e9, 5.0), after) == ""


@given(st.floats(0.1, 1e6) | st.floats(-1e6, -0.1), st.floats(0, 1))
def test_a_jump_of_the_wall_clock(jump: float, passed: float) -> None:
    after = Reading(1e9 + passed + jump, passed)
    assert "slept or its clock was set" in disturbance(Reading(1e9, 0.0), after)


@given(st.floats(-1e5, 1e5), st.floats(0, 0.2))
def test_the_offset_is_measured_in_the_middle(ahead: float, delay: float) -> None:
    world = World(ahead, delay)
    found, doubt = offset(world, wall=world.wall)
    assert found == pytest.approx(ahead, abs=1e-5)
    assert doubt == pytest.approx(delay, abs=1e-5)


@given(st.floats(-1e5, 1e5), st.floats(0, 0.2))
def test_a_wrong_clock_is_right_afterwards(ahead: float, delay: float) -> None:
    world = World(ahead, delay)
    found = correct(world, wall=world.wall)
    assert abs(world.ahead) <= clock.TOLERANCE + delay + 1e-4
    if found:
        assert found == pytest.approx(ahead, abs=1e-5)
    else:
        assert "clock" not in world.calls


@asynccontextmanager
async def keeper(
    monkeypatch: pytest.MonkeyPatch, *, routine: float = 1000, events: Any = None
) -> AsyncIterator[asyncio.Queue[None]]:
    """A keeper that works; yields what gets an item at each look at the guest's clock."""
    looks: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def look(_agent: object) -> float:
        loop.call_soon_threadsafe(looks.put_nowait, None)
        return 0.0

    monkeypatch.setattr(clock, "correct", look)
    monkeypatch.setattr(clock, "ROUTINE", routine)
    if events is not None:
        monkeypatch.setattr(clock, "on_clock_jump", events)
    task = asyncio.create_task(ClockKeeper(Path("/nowhere")).run())
    await asyncio.wait_for(looks.get(), 10)  # at the start
    try:
        yield looks
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_looks_when_a_child_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with keeper(monkeypatch) as looks:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE
        )
        try:
            for _ in range(2):
                os.kill(child.pid, signal.SIGSTOP)
                await asyncio.to_thread(os.waitid, os.P_PID, child.pid, os.WSTOPPED)
                os.kill(child.pid, signal.SIGCONT)
                await asyncio.wait_for(looks.get(), 10)
            child.kill()
            # its end is still told to others
            assert await asyncio.wait_for(child.wait(), 10) == -signal.SIGKILL
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()


async def test_it_looks_when_we_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with keeper(monkeypatch) as looks:
        os.kill(os.getpid(), signal.SIGCONT)
        await asyncio.wait_for(looks.get(), 10)
        assert looks.empty()


async def test_it_looks_when_the_hosts_clock_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Callable[[], None]] = []

    @contextmanager
    def events(then: Callable[[], None], *, every: int) -> Iterator[None]:
        assert every == 1000
        told.append(then)
        try:
            yield
        finally:
            told.clear()

    async with keeper(monkeypatch, events=events) as looks:
        for _ in range(2):
            told[0]()
            await asyncio.wait_for(looks.get(), 10)
    assert not told


async def test_a_host_that_tells_nothing_is_looked_at_by_routine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_events(_then: object, *, every: float) -> None:
        raise OSError(24, "Too many open files")

    async with keeper(monkeypatch, routine=0.01, events=no_events) as looks:
        for _ in range(3):
            await asyncio.wait_for(looks.get(), 10)
    assert "does not tell when its clock jumps" in caplog.text


async def test_a_guest_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    tries = iter(range(100))

    def look(_agent: object) -> float:
        number = next(tries)
        loop.call_soon_threadsafe(answers.put_nowait, number)
        if number < 2:
            raise GuestError("not now")
        return 0.0

    monkeypatch.setattr(clock, "correct", look)
    monkeypatch.setattr(clock, "RETRY", 0.01)
    task = asyncio.create_task(ClockKeeper(Path("/nowhere")).run())
    for expected in range(3):
        assert await asyncio.wait_for(answers.get(), 10) == expected
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
