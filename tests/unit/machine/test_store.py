# SPDX-License-Identifier: Apache-2.0
"""Machines as folders: made once, read back, told truly also when their supervisor died or their files broke."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cove.errors import ConflictError, MachineError, NotFoundError, UsageError
from cove.machine import store as module
from cove.machine.state import ALIVE, State
from cove.machine.store import StateRecord, Store, observe, read_state, write_state
from cove.system.files import write_json
from cove.system.process import Identity
from tests.unit.machine.world import SPEC

ME = Identity.of(os.getpid())
assert ME is not None


@pytest.fixture
def dead() -> Identity:
    """A process that ran."""
    child = subprocess.Popen(["true"])
    identity = Identity.of(child.pid)
    child.wait()
    return identity or Identity(child.pid, "1")


def test_created_it_is_there_and_private(store: Store) -> None:
    before = time.time()
    machine = store.create(SPEC)
    assert store.exists("dev")
    assert store.names() == ["dev"]
    assert machine == store.load("dev") == next(store.all())
    assert (machine.name, machine.spec, machine.image) == ("dev", SPEC, "")
    assert before <= machine.created <= time.time()
    assert (machine.record.state, machine.running, machine.uptime()) == (State.CREATED, False, None)
    for folder in (store.home.root, store.home.machines, machine.paths.root):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not machine.paths.data_disk.exists()


def test_names_are_sorted_and_nothing_else_is_a_machine(store: Store) -> None:
    assert store.names() == []
    for name in ("b", "a", "c"):
        store.create(replace(SPEC, name=name))
    (store.home.machines / "d").mkdir()
    (store.home.machines / "file").touch()
    assert store.names() == ["a", "b", "c"]
    assert [machine.name for machine in store.all()] == ["a", "b", "c"]


def test_a_second_of_the_same_name_is_refused(store: Store) -> None:
    store.create(SPEC)
    with pytest.raises(ConflictError, match="there is a machine 'dev' already"):
        store.create(replace(SPEC, cpus=2))
    assert store.load("dev").spec.cpus == 1


def test_of_many_that_create_it_at_once_one_succeeds(store: Store) -> None:
    def create(_number: int) -> bool:
        try:
            store.create(SPEC)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == [False] * 7 + [True]
    assert store.load("dev").spec == SPEC


@pytest.mark.parametrize("name", ["..", "a/b", "A", ""])
def test_names_that_cannot_be(store: Store, name: str) -> None:
    for ask in (store.exists, store.load):
        with pytest.raises(UsageError):
            ask(name)


def test_one_that_is_not_there(store: Store) -> None:
    assert not store.exists("dev")
    with pytest.raises(NotFoundError, match="there is no machine 'dev'") as caught:
        store.load("dev")
    assert caught.value.hint == "Make it: cove create dev"


@pytest.mark.parametrize(
    "contents",
    [
        b"", b"{", b"[]", b"null", b"{}", b'{"spec": {}}', b'{"spec": 1, "created": 1}',
        b'{"version": 1, "created": "x", "image": "", "spec": null}',
    ],
)  # fmt: skip
def test_a_damaged_machine_is_told_and_can_be_deleted(store: Store, contents: bytes) -> None:
    store.create(SPEC).paths.spec.write_bytes(contents)
    with pytest.raises(MachineError, match=r"machine\.json does not describe a machine") as caught:
        store.load("dev")
    assert "cove delete dev" in (caught.value.hint or "")


def test_the_spec_of_another_version_is_refused(store: Store) -> None:
    paths = store.create(SPEC).paths
    write_json(paths.spec, {"version": 1, "created": 0, "spec": {**SPEC.to_dict(), "version": 99}})
    with pytest.raises(MachineError) as caught:
        store.load("dev")
    assert "version: it is 99" in (caught.value.details or "")


def test_the_image_is_recorded(store: Store) -> None:
    machine = store.create(SPEC)
    store.set_image(machine, "abc")
    again = store.load("dev")
    assert (again.image, again.created, again.spec) == ("abc", machine.created, SPEC)


def test_removed_it_is_gone_whole(store: Store) -> None:
    machine = store.create(SPEC)
    machine.paths.data_disk.touch()
    machine.paths.uml_dir.mkdir(parents=True)
    store.remove(machine.paths)
    assert not machine.paths.root.exists()
    store.create(SPEC)


def test_half_removed_it_is_not_listed_and_makes_room(store: Store) -> None:
    machine = store.create(SPEC)
    machine.paths.data_disk.write_text("left over")
    machine.paths.spec.unlink()  # as far as a removal that was killed may have come
    assert store.names() == []
    store.create(SPEC)


def test_state_written_and_read_is_the_same(store: Store) -> None:
    paths = store.create(SPEC).paths
    record = StateRecord(
        state=State.RUNNING,
        reason="ä",
        since=1.5,
        processes={"supervisor": Identity(1, "2"), "vmm": Identity(3, "4")},
        stages=(("link", 0.1), ("kernel", 1.0)),
        host_cpu=1,
    )
    write_state(paths, record)
    assert read_state(paths) == record
    assert json.loads(paths.state.read_text())["processes"] == {"supervisor": [1, "2"], "vmm": [3, "4"]}


def test_state_of_a_release_before_it_knew_the_processor(store: Store) -> None:
    paths = store.create(SPEC).paths
    record = StateRecord(state=State.STOPPED, since=1.0)
    write_json(paths.state, {key: value for key, value in record.to_dict().items() if key != "host_cpu"})
    assert read_state(paths) == record


def test_state_that_is_missing_is_created(store: Store) -> None:
    paths = store.create(SPEC).paths
    paths.state.unlink()
    assert read_state(paths).state is State.CREATED


@pytest.mark.parametrize(
    "contents",
    [b"", b"[]", b"{}", b'{"state": "flying"}', b'"text"', b'{"state": "running", "processes": 1}'],
)
def test_state_that_is_damaged_stops_nobody(store: Store, contents: bytes) -> None:
    paths = store.create(SPEC).paths
    paths.state.write_bytes(contents)
    assert store.load("dev").record.state in (State.CREATED, State.FAILED)


@pytest.mark.parametrize("state", State)
def test_a_machine_that_lives_without_its_supervisor_has_failed(
    store: Store, dead: Identity, state: State
) -> None:
    paths = store.create(SPEC).paths
    write_state(paths, StateRecord(state=state, reason="old", processes={"supervisor": dead}))
    seen = observe(paths)
    if state in ALIVE:
        assert seen.state is State.FAILED
        assert seen.reason == f"the supervisor died while the machine was {state}"
        assert seen.processes == {"supervisor": dead}  # whoever starts it has to clear them
        assert read_state(paths).state is state  # looking changes nothing
    else:
        assert (seen.state, seen.reason) == (state, "old")


def test_a_pid_that_was_given_to_another_is_no_supervisor(store: Store) -> None:
    paths = store.create(SPEC).paths
    impostor = Identity(ME.pid, str(int(ME.started or 0) + 1))
    cases: list[tuple[dict[str, Identity], State]] = [
        ({"supervisor": ME}, State.RUNNING),
        ({"supervisor": impostor}, State.FAILED),
        ({}, State.FAILED),
    ]
    for processes, expected in cases:
        write_state(paths, StateRecord(state=State.RUNNING, processes=processes))
        assert observe(paths).state is expected


def test_a_supervisor_that_ends_between_two_looks_is_believed(
    store: Store, dead: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = store.create(SPEC).paths
    last = StateRecord(state=State.STOPPED, reason="asked for")
    answers: Iterator[StateRecord] = iter(
        [StateRecord(state=State.STOPPING, processes={"supervisor": dead}), last]
    )
    monkeypatch.setattr(module, "read_state", lambda _paths: next(answers))
    assert observe(paths) is last


def test_uptime_counts_from_when_it_ran(store: Store) -> None:
    paths = store.create(SPEC).paths
    write_state(
        paths, StateRecord(state=State.RUNNING, since=time.time() - 100, processes={"supervisor": ME})
    )
    machine = store.load("dev")
    assert machine.running
    assert 100 <= (machine.uptime() or 0) < 130


def test_a_machine_that_cannot_be_read_is_named(store: Store) -> None:
    store.create(SPEC).paths.spec.write_text("{")
    with pytest.raises(MachineError, match=r"machine\.json"):
        list(store.all())


def test_nothing_is_made_by_asking(store: Store) -> None:
    store.names()
    store.exists("dev")
    assert list(Path(store.home.root).iterdir()) == []


def test_sweep_takes_what_is_unfinished_unless_somebody_makes_something(store: Store) -> None:
    machine = store.create(SPEC)
    left = [
        store.home.machines / ".clone.ab12cd_3",
        machine.paths.snapshots / ".one.ab12cd_3",
        machine.paths.snapshots / ".two.gone",
    ]
    kept = machine.paths.snapshots / "one"
    for folder in (*left, kept):
        folder.mkdir(parents=True)
    with store.making():
        assert not any(path.exists() for path in left)
        left[0].mkdir()
        store.sweep()
        assert left[0].exists()
    store.sweep()
    assert not left[0].exists()
    assert kept.exists()
