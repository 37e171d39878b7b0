# SPDX-License-Identifier: Apache-2.0
"""Suspend and resume under a supervisor, with the fake driver and an agent that only takes notes."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cove.errors import ConflictError, CoveError, GuestError, MachineError, StorageError, UnsupportedError
from cove.machine import saving
from cove.machine.state import State
from cove.machine.store import Store, read_state
from cove.system.paths import MachinePaths
from cove.vmm.fake import FakeVm
from tests.small_disk import SmallDisk
from tests.unit.machine.agent_stand_in import AgentStandIn
from tests.unit.machine.test_supervisor import sockets_left
from tests.unit.machine.world import SPEC, Run, WatchedFake, names, running


@pytest.fixture
def paths(store: Store) -> MachinePaths:
    made = store.create(SPEC).paths
    made.data_disk.write_bytes(b"disk")
    return made


@asynccontextmanager
async def started(store: Store, agent: AgentStandIn, *, resume: bool = False) -> AsyncIterator[Run]:
    async with (
        agent.at(store.home.machine(SPEC.name).agent_socket),
        running(store, driver=WatchedFake(suspend=True), resume=resume) as run,
    ):
        await run.events()
        yield run


async def suspended(store: Store) -> None:
    async with started(store, AgentStandIn()) as run:
        await run.supervisor.suspend()
        await run.end()


async def test_suspended_machine_is_whole_on_the_disk_and_nothing_runs(
    store: Store, paths: MachinePaths
) -> None:
    agent = AgentStandIn()
    async with started(store, agent) as run:
        await run.supervisor.suspend()
        await run.end()
        assert (await run.vm.wait()).ending == "killed"
    recorded = read_state(paths)
    assert (recorded.state, recorded.processes, recorded.ports) == (State.SUSPENDED, {}, ())
    assert agent.ops == ["freeze"]
    assert sorted(path.name for path in paths.saved.iterdir()) == ["devices", "memory", "saved.json"]
    assert (paths.saved / "memory").stat().st_size == SPEC.memory
    assert not sockets_left(run)
    assert not list(paths.root.glob("cove-*"))  # the guest's memory
    assert list(paths.vm_dir.iterdir()) == []
    assert len(run.driver.started) == 2  # the guest's own, and one on trial
    assert run.driver.started[1].memory_private


async def test_suspended_machine_goes_on(store: Store, paths: MachinePaths) -> None:
    await suspended(store)
    agent = AgentStandIn()
    async with started(store, agent, resume=True) as run:
        assert names(await run.events()) == ["stage-begun resume", "stage-ended resume", "running"]
        assert run.supervisor.record.state is State.RUNNING
        assert isinstance(run.vm, FakeVm)
        assert not run.vm.paused
        assert not paths.saved.exists()
        await asyncio.wait_for(agent.heard("cut"), 10)
        assert not list(paths.root.glob(".saved*"))
        assert agent.ops == ["wake", "cut"]
        assert len(bytes.fromhex(agent.asked[0][1]["entropy"])) == 64
        # who asks for that again, because the first to ask was killed, is answered
        await asyncio.wait_for(run.supervisor.wake(), 10)
        # and can be suspended again
        await run.supervisor.suspend()
        await run.end()
    assert read_state(paths).state is State.SUSPENDED


async def test_boot_gives_the_saved_guest_up_before_the_disk_is_touched(
    store: Store, paths: MachinePaths
) -> None:
    await suspended(store)
    async with started(store, AgentStandIn()) as run:
        assert run.supervisor.record.state is State.RUNNING
        assert not paths.saved.exists()


@pytest.mark.parametrize("failure", ["full", "lies", "trial", "agent"])
async def test_guest_goes_on_when_it_cannot_be_saved(
    store: Store, paths: MachinePaths, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    agent = AgentStandIn(refused=("freeze",) if failure == "agent" else ())
    wanted: type[CoveError] = CoveError
    async with started(store, agent) as run:
        if failure == "full":
            wanted = StorageError
            monkeypatch.setattr(saving, "copy_sparse", _full)
        elif failure == "lies":
            monkeypatch.setattr(saving, "copy_sparse", _lie)
        elif failure == "trial":
            monkeypatch.setattr(run.supervisor._saving._trial, "load", _refuse)
        else:
            wanted = GuestError
        with pytest.raises(wanted):
            await run.supervisor.suspend()
        assert run.supervisor.record.state is State.RUNNING
        assert isinstance(run.vm, FakeVm)
        assert not run.vm.paused
        assert "thaw" in agent.ops
        assert not paths.saved.exists()
        assert not list(paths.root.glob(".saved*"))
        assert paths.docker_socket.exists()
        # the next one may be luckier
        monkeypatch.undo()
        agent.refused = ()
        await run.supervisor.suspend()
        await run.end()
    assert read_state(paths).state is State.SUSPENDED


@pytest.mark.parametrize("left", [0, 4 << 10])
async def test_guest_goes_on_when_the_disk_is_full(small: SmallDisk, small_store: Store, left: int) -> None:
    paths = small_store.create(SPEC).paths
    paths.data_disk.write_bytes(b"disk")
    async with started(small_store, AgentStandIn()) as run:
        small.fill(left)
        with pytest.raises(StorageError, match="No space left on device: /") as failed:
            await run.supervisor.suspend()
        assert f"of 4.0 MiB are left on the disk at {small.seen}" in (failed.value.details or "")
        assert read_state(paths).state is State.RUNNING
        assert isinstance(run.vm, FakeVm)
        assert not run.vm.paused
        assert not list(paths.root.glob(".*"))
        small.free()
        await run.supervisor.suspend()
        await run.end()
    assert read_state(paths).state is State.SUSPENDED


async def test_stop_is_orderly_on_a_full_disk(small: SmallDisk, small_store: Store) -> None:
    paths = small_store.create(SPEC).paths
    async with started(small_store, AgentStandIn(refused=("poweroff",))) as run:
        small.fill()
        run.supervisor.ask_to_stop(5)
        await run.end()
    recorded = read_state(paths)
    assert (recorded.state, recorded.reason) == (State.STOPPED, "asked for")


async def test_guest_that_cannot_be_loaded_stays_suspended(store: Store, paths: MachinePaths) -> None:
    await suspended(store)
    (paths.saved / "devices").write_text("damaged")
    async with started(store, AgentStandIn(), resume=True) as run:
        assert names(await run.events())[-1] == "failed"
        await run.end()
    recorded = read_state(paths)
    assert recorded.state is State.SUSPENDED
    assert "could not load" in recorded.reason
    assert (paths.saved / "memory").exists()


async def test_guest_that_does_not_answer_after_it_went_on_has_failed(
    store: Store, paths: MachinePaths
) -> None:
    await suspended(store)
    async with started(store, AgentStandIn(refused=("wake",)), resume=True) as run:
        assert names(await run.events())[-1] == "failed"
        await run.end()
    assert read_state(paths).state is State.FAILED
    assert not paths.saved.exists()


async def test_sleeping_machine_wakes_when_it_is_used(store: Store, paths: MachinePaths) -> None:
    agent = AgentStandIn()
    async with started(store, agent) as run:
        run.supervisor.tell_ports([{"port": 80}])
        first = run.vm
        for _ in range(2):
            await run.supervisor.suspend(asleep=True)
            recorded = read_state(paths)
            assert (recorded.state, set(recorded.processes)) == (State.SUSPENDED, {"supervisor"})
            assert recorded.ports == ({"port": 80},)  # they stay open
            assert store.load(SPEC.name).asleep
            assert "docker.sock" in sockets_left(run)
            await run.supervisor.suspend(asleep=True)  # it is
            await run.supervisor.wake()
            assert run.supervisor.record.state is State.RUNNING
            assert not paths.saved.exists()
            assert run.vm is not first
        run.supervisor.ask_to_stop(5)
        await run.end()
    assert run.supervisor.record.state is State.STOPPED


async def test_sleeping_machine_can_be_left_alone(store: Store, paths: MachinePaths) -> None:
    async with started(store, AgentStandIn()) as run:
        await run.supervisor.suspend(asleep=True)
        await run.supervisor.suspend()
        await run.end()
        recorded = read_state(paths)
        assert (recorded.state, recorded.processes) == (State.SUSPENDED, {})
        assert not sockets_left(run)
        assert paths.saved_record.exists()


@pytest.mark.parametrize(("deadline", "reason"), [(0, "was given up"), (5, "asked for")])
async def test_stop_of_a_sleeping_machine(
    store: Store, paths: MachinePaths, deadline: float, reason: str
) -> None:
    agent = AgentStandIn(refused=("poweroff",))
    async with started(store, agent) as run:
        await run.supervisor.suspend(asleep=True)
        run.supervisor.ask_to_stop(deadline)
        await run.end()
    recorded = read_state(paths)
    assert recorded.state is State.STOPPED
    assert reason in recorded.reason
    assert ("wake" in agent.ops) == (deadline > 0)  # its containers are stopped in order
    assert not paths.saved.exists()


async def test_sleeping_guest_that_cannot_be_loaded_stays_on_the_disk(
    store: Store, paths: MachinePaths
) -> None:
    async with started(store, AgentStandIn()) as run:
        await run.supervisor.suspend(asleep=True)
        (paths.saved / "devices").write_text("damaged")
        with pytest.raises(MachineError, match="dev has ended"):
            await run.supervisor.wake()
        await run.end()
    assert read_state(paths).state is State.SUSPENDED


async def test_who_is_not_running_cannot_be_suspended(store: Store, paths: MachinePaths) -> None:
    async with running(store) as run:
        await run.events()
        with pytest.raises(UnsupportedError, match="the driver uml cannot suspend"):
            await run.supervisor.suspend()
    async with running(store, driver=WatchedFake(suspend=True, stages=("kernel",))) as run:
        await run.heard("stage-begun root")
        with pytest.raises(ConflictError, match="dev is starting"):
            await run.supervisor.suspend()


async def test_guest_that_ends_meanwhile_is_told(store: Store, paths: MachinePaths) -> None:
    async with started(store, AgentStandIn()) as run:
        asking = asyncio.create_task(run.supervisor.suspend())
        run.supervisor.ask_to_stop(5)
        results = await asyncio.gather(asking, return_exceptions=True)
        await run.end()
    assert run.supervisor.record.state in (State.STOPPED, State.SUSPENDED)
    assert results[0] is None or isinstance(results[0], CoveError)


def _full(*_arguments: object, **_options: object) -> int:
    raise OSError(28, os.strerror(28))


def _lie(source: Path, target: Path, **_options: object) -> int:
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        file.write(b"other")
    return 0


async def _refuse(*_arguments: object) -> None:
    raise CoveError("no second VMM today")
