# SPDX-License-Identifier: Apache-2.0
"""The watch for machines in which nothing happens; a minute has a hundredth of a second here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cove.errors import MachineError
from cove.guest.relay import DOCKER, Tunnel
from cove.host.engine_calls import EngineCalls
from cove.machine import idle as module
from cove.machine.idle import Clients, IdleWatch
from cove.system.paths import Home
from tests.unit.machine.agent_stand_in import AgentStandIn
from tests.unit.machine.guest_world import FakeGuest


class World:
    """A guest, its agent, and a watch that notes what it does."""

    def __init__(self, folder: Path, minutes: int) -> None:
        self.guest = FakeGuest()
        self.agent = AgentStandIn(answers={"busy": {"sessions": 0}})
        self.clients = Clients()
        tunnel = Tunnel(folder / "relay.sock")

        async def dial() -> object:
            return await tunnel.open(DOCKER)

        self.watch = IdleWatch(
            minutes,
            EngineCalls(dial),
            folder / "agent.sock",
            self.clients,
            unit=0.01,  # type: ignore[arg-type]
        )
        self.watch.suspend = self.suspend
        self.suspended = asyncio.Event()
        self.refusal: Exception | None = None

    async def suspend(self) -> None:
        self.suspended.set()
        if self.refusal is not None:
            raise self.refusal
        await asyncio.Event().wait()  # our supervisor ends us

    async def is_suspended(self) -> None:
        await asyncio.wait_for(self.suspended.wait(), 10)
        self.suspended.clear()

    async def stays(self) -> None:
        await asyncio.sleep(0.2)
        assert not self.suspended.is_set()


@asynccontextmanager
async def watching(home: Home, minutes: int = 2) -> AsyncIterator[World]:
    folder = home.root
    world = World(folder, minutes)
    async with world.guest.at(folder / "relay.sock"), world.agent.at(folder / "agent.sock"):
        task = asyncio.create_task(world.watch.run())
        try:
            yield world
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_AGAIN", 0.05)


async def test_quiet_machine_is_suspended(home: Home) -> None:
    async with watching(home) as world:
        await world.is_suspended()
        assert world.agent.ops == ["busy"]


async def test_switched_off_and_on(home: Home) -> None:
    async with watching(home, minutes=0) as world:
        await world.stays()
        world.watch.set_minutes(1)
        await world.is_suspended()


async def test_clients_keep_it_awake(home: Home) -> None:
    async with watching(home, minutes=5) as world:
        world.clients.changed(1)
        await world.stays()
        world.clients.changed(0)
        await world.is_suspended()


async def test_containers_keep_it_awake_until_they_end(home: Home) -> None:
    async with watching(home, minutes=1) as world:
        container = world.guest.add("db", running=True)
        await world.stays()
        world.guest.set_running(container, False)
        await world.is_suspended()


async def test_shell_keeps_it_awake(home: Home) -> None:
    async with watching(home, minutes=1) as world:
        world.agent.answers["busy"] = {"sessions": 1}
        await world.stays()
        world.agent.answers["busy"] = {"sessions": 0}
        await world.is_suspended()


async def test_guest_that_does_not_answer_is_left_alone(home: Home) -> None:
    async with watching(home, minutes=1) as world:
        world.agent.refused = ("busy",)
        await world.stays()


async def test_refused_suspension_is_tried_again(home: Home) -> None:
    async with watching(home, minutes=1) as world:
        world.refusal = MachineError("no room")
        await world.is_suspended()
        await world.is_suspended()
