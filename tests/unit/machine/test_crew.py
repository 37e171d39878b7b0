# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cove.machine.crew import Crew
from cove.machine.store import Store
from cove.system.process import Identity
from tests.unit.machine.world import SPEC, WatchedFake, Wire, make_plan


@dataclass
class Share:
    """A share daemon that serves nobody."""

    tag: str
    socket_path: Path = Path("/s")
    identity: Identity | None = None
    calls: list[str] = field(default_factory=list)
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def start(self) -> None:
        self.calls.append("start")
        self.identity = Identity(7, self.tag)

    def seal(self) -> None:
        self.calls.append("seal")

    async def wait(self) -> str:
        return await asyncio.shield(self.ended)

    async def stop(self) -> None:
        self.calls.append("stop")


@dataclass
class World:
    crew: Crew
    wire: Wire
    share: Share
    memory: Path


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    paths = store.create(SPEC).paths
    wire, share = Wire(identity=Identity(6, "wire")), Share("cove0")
    plan = make_plan(paths)
    made = World(Crew(paths, plan, WatchedFake(), wire, [share]), wire, share, plan.memory_dir)
    yield made
    await made.crew.end()


async def started(world: World) -> Crew:
    await world.crew.start_services()
    await world.crew.start_vm(lambda _: None)
    return world.crew


async def test_services_come_before_the_guest(world: World) -> None:
    await world.crew.start_services()
    assert world.wire.calls == ["start", "relay.sock -> 60998", "agent.sock -> 60997", "seal"]
    assert world.share.calls == ["start"]
    assert set(world.crew.identities()) == {"gvproxy", "share-cove0"}
    await world.crew.start_vm(lambda _: None)
    assert set(world.crew.identities()) == {"gvproxy", "share-cove0", "vmm"}


async def test_share_daemons_are_sealed_with_the_vmm(world: World) -> None:
    """Not before: they connect to each other with calls that are refused afterwards."""
    crew = await started(world)
    assert world.share.calls == ["start"]
    crew.seal()
    assert world.share.calls == ["start", "seal"]


async def test_first_to_end_is_named(world: World) -> None:
    crew = await started(world)
    world.share.ended.set_result("its folder is gone")
    assert await crew.first_end() == "the share cove0 ended: its folder is gone"
    assert await crew.vm_end(0.01) is None
    assert crew.vm is not None
    await crew.vm.power_button()
    assert await crew.first_end() == "the guest shut down"
    exit_ = await crew.vm_end(10)
    assert exit_ is not None
    assert exit_.clean


async def test_end_leaves_nothing(world: World) -> None:
    crew = await started(world)
    folders = [path for path in world.memory.iterdir() if path.name.startswith("cove-")]
    assert len(folders) == 1
    await crew.end()
    assert not folders[0].exists()
    assert world.wire.calls[-1] == world.share.calls[-1] == "stop"
    assert crew.vm is None
    await started(world)  # as when a suspended guest goes on
    assert "vmm" in crew.identities()


async def test_memory_of_ours_is_a_file_of_its_size(store: Store) -> None:
    paths = store.create(SPEC).paths
    plan, driver = make_plan(paths), WatchedFake(suspend=True)
    crew = Crew(paths, plan, driver, Wire(), [])
    await crew.start_services()
    await crew.start_vm(lambda _: None)
    assert crew.memory_file is not None
    assert crew.memory_file.stat().st_size == SPEC.memory
    assert driver.started[0].memory_file == crew.memory_file
    await crew.end()
    assert crew.memory_file is None


async def test_memory_on_a_disk_is_left_to_the_driver(store: Store) -> None:
    paths = store.create(SPEC).paths
    plan = replace(make_plan(paths), memory_dir=paths.vm_dir)
    crew = Crew(paths, plan, WatchedFake(suspend=True), Wire(), [])
    await crew.start_services()
    await crew.start_vm(lambda _: None)
    assert crew.memory_file is None
    await crew.end()


async def test_end_without_a_start(world: World) -> None:
    await world.crew.end()
    assert world.crew.identities()["gvproxy"]
