# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import pytest

from cove.errors import ConflictError, StorageError
from cove.machine import store as stores
from cove.machine.recorder import Recorder
from cove.machine.state import State
from cove.machine.store import Store, read_state
from cove.system.paths import MachinePaths
from cove.system.process import Identity
from tests.small_disk import SmallDisk
from tests.unit.machine.world import SPEC

ME = Identity.of(os.getpid())


@pytest.fixture
def paths(store: Store) -> MachinePaths:
    return store.create(SPEC).paths


def test_each_move_is_written(paths: MachinePaths) -> None:
    recorder = Recorder(paths, 1)
    recorder.enter(State.STARTING, "")
    assert read_state(paths) == recorder.record
    assert recorder.record.processes == {"supervisor": ME}
    assert recorder.record.host_cpu == 1
    recorder.processes({"vmm": Identity(1, "2")})
    recorder.enter(State.RUNNING, "", [("kernel", 1.0)])
    recorder.ports([{"port": 80}])
    assert read_state(paths) == recorder.record
    assert recorder.record.processes == {"supervisor": ME, "vmm": Identity(1, "2")}
    recorder.enter(State.STOPPING, "asked for", [("kernel", 7.0)])
    assert recorder.record.ports == ({"port": 80},)
    recorder.enter(State.STOPPED, "asked for")
    assert read_state(paths) == recorder.record
    assert (recorder.record.processes, recorder.record.ports) == ({}, ())
    assert recorder.record.stages == (("kernel", 1.0),)  # how the last start went stays known


def test_moves_that_cannot_be_are_refused(paths: MachinePaths) -> None:
    recorder = Recorder(paths, None)
    recorder.enter(State.STARTING, "")
    before = read_state(paths)
    with pytest.raises(ConflictError):
        recorder.enter(State.STOPPED, "")
    assert read_state(paths) == before == recorder.record


def test_full_disk_keeps_nothing_secret(small: SmallDisk, small_store: Store) -> None:
    """What there is to record takes the place of what was recorded."""
    paths = small_store.create(SPEC).paths
    recorder = Recorder(paths, None)
    small.fill()
    for state in (State.STARTING, State.RUNNING, State.SUSPENDING, State.RUNNING, State.STOPPING):
        recorder.enter(state, "a reason that grows and shrinks" * (state is State.RUNNING))
        recorder.ports([{"port": 80}])
        assert read_state(paths) == recorder.record
    recorder.enter(State.STOPPED, "")
    assert read_state(paths) == recorder.record


def test_record_that_cannot_be_written_ends_nothing_that_runs(
    paths: MachinePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(paths, None)

    def full(_path: object, _value: object) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(stores, "rewrite_json", full)
    with pytest.raises(StorageError):
        recorder.enter(State.STARTING, "")  # nobody would find what runs
    recorder.enter(State.RUNNING, "")
    recorder.ports([{"port": 80}])
    with pytest.raises(StorageError):
        recorder.enter(State.SUSPENDING, "")  # nobody would know what the saved guest means
    recorder.enter(State.RUNNING, "")
    assert recorder.record.state is State.RUNNING
    assert read_state(paths).state is State.CREATED
