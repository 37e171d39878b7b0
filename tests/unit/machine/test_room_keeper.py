# SPDX-License-Identifier: Apache-2.0
"""A guest that stands still on a disk that is really full, under a supervisor with the fake driver."""

from __future__ import annotations

import asyncio

import pytest

from cove.errors import StorageError
from cove.machine import room_keeper
from cove.machine.state import State
from cove.machine.store import Store, read_state
from cove.system.paths import MachinePaths
from cove.vmm.fake import FakeVm
from tests.small_disk import SmallDisk
from tests.unit.machine.agent_stand_in import AgentStandIn
from tests.unit.machine.test_suspension import started
from tests.unit.machine.world import SPEC


async def said(paths: MachinePaths, words: str) -> None:
    async with asyncio.timeout(10):
        while words not in read_state(paths).reason or bool(words) != bool(read_state(paths).reason):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_guest_goes_on_when_there_is_room(
    small: SmallDisk, small_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_keeper, "ENOUGH", 1 << 20)
    monkeypatch.setattr(room_keeper, "_LOOK", 0.01)
    paths = small_store.create(SPEC).paths
    paths.data_disk.write_bytes(b"disk")
    agent = AgentStandIn()
    async with started(small_store, agent) as run:
        vm = run.vm
        assert isinstance(vm, FakeVm)
        small.fill()
        vm.paused = True
        vm.full.set()
        await said(paths, "stands still until there is room on the disk at")
        with pytest.raises(StorageError, match="No space left on device") as refused:
            await run.supervisor.suspend()
        assert "0 B of 4.0 MiB are left" in (refused.value.details or "")
        assert "freeze" not in agent.ops  # it could not answer
        recorded = read_state(paths)
        assert recorded.state is State.RUNNING
        assert "stands still" in recorded.reason
        vm.full.set()  # and was stopped again, when the refused suspension let it go on
        small.free()
        await said(paths, "")
        assert not vm.paused
        await run.supervisor.suspend()
        await run.end()
    assert read_state(paths).state is State.SUSPENDED
