# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from cove.errors import ConflictError, UnsupportedError, UsageError
from cove.events import Event
from cove.machine.assets import Workshop
from cove.machine.clones import clone, clone_names
from cove.machine.disks import data_disk, ensure_disk, layers_of
from cove.machine.lifecycle import delete
from cove.machine.resumption import resumption
from cove.machine.saved.folder import SavedGuest, describe_guest
from cove.machine.state import State
from cove.machine.store import Machine, StateRecord, Store, write_state
from cove.spec.machine import MachineSpec
from cove.system.paths import Home
from cove.system.process import Command, Identity
from cove.vmm.qemu import Qemu
from tests.unit.machine.world import SPEC, make_plan

QEMU = replace(SPEC, name="src", driver="qemu", accel="tcg")
TOOLS = {"qemu-system-x86_64": Command(("/bin/qemu",), {})}


@dataclass
class Bench:
    home: Home
    seen: list[Event] = field(default_factory=list)

    def report(self, event: Event) -> None:
        self.seen.append(event)


@pytest.fixture
def workshop(home: Home) -> Workshop:
    return cast(Workshop, Bench(home))


def silent(_event: Event) -> None:
    pass


def suspended(store: Store) -> Machine:
    """A machine whose saved guest fits."""
    paths = store.create(QEMU).paths
    ensure_disk(paths, QEMU.disk)
    paths.settings.write_bytes(b"settings")
    plan = replace(make_plan(paths, QEMU), tools=TOOLS)
    with SavedGuest(paths.saved).writing() as scratch:
        scratch.memory.write_bytes(b"memory")
        scratch.devices.write_bytes(b"devices")
        scratch.seal(describe_guest(Qemu(), plan, created=1.0))
    write_state(paths, StateRecord(state=State.SUSPENDED))
    return store.load("src")


@pytest.mark.parametrize(("count", "names"), [(None, ["c"]), (1, ["c-1"]), (3, ["c-1", "c-2", "c-3"])])
def test_names(count: int | None, names: list[str]) -> None:
    assert clone_names("c", count) == names


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_absurd_counts_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="--count"):
        clone_names("c", count)


def test_clones_of_a_suspended_machine_go_on_with_its_very_memory(store: Store, workshop: Workshop) -> None:
    source = suspended(store)
    made = clone(store, "src", ["a", "b"], workshop)
    layers = layers_of(data_disk(source.paths))
    for machine in made:
        assert (machine.record.state, machine.spec.name) == (State.SUSPENDED, machine.name)
        plan = resumption(machine, store.home, silent)
        assert plan is not None
        assert (plan.private, plan.cloned, plan.resume) == (True, True, True)
        assert plan.boot.data == data_disk(machine.paths)
        assert list(plan.boot.layers) == layers_of(data_disk(machine.paths)) == layers
        assert plan.boot.settings == machine.paths.settings
        assert machine.paths.settings.read_bytes() == b"settings"
        assert SavedGuest(machine.paths.saved).memory.samefile(SavedGuest(source.paths.saved).memory)
    again = resumption(store.load("src"), store.home, silent)
    assert again is not None
    assert not again.private
    assert not again.cloned


def test_source_may_be_deleted_before_its_clones(store: Store, workshop: Workshop) -> None:
    suspended(store)
    (made,) = clone(store, "src", ["a"], workshop)
    delete(store, "src", force=False, report=silent)
    assert resumption(store.load("a"), store.home, silent) is not None
    assert SavedGuest(made.paths.saved).memory.read_bytes() == b"memory"
    delete(store, "a", force=False, report=silent)
    assert not list(store.home.layers.iterdir())
    assert store.names() == []


@pytest.mark.parametrize("spec", [QEMU, replace(QEMU, driver="uml", accel="none")])
def test_clones_of_a_stopped_machine_have_its_disk(
    store: Store, workshop: Workshop, spec: MachineSpec
) -> None:
    paths = store.create(spec).paths
    ensure_disk(paths, QEMU.disk)
    write_state(paths, StateRecord(state=State.STOPPED))
    (made,) = clone(store, "src", ["a"], workshop)
    assert made.record.state is State.CREATED
    assert data_disk(made.paths).exists()
    assert not made.paths.saved.exists()


def test_what_cannot_be_cloned_says_so(store: Store, workshop: Workshop) -> None:
    paths = store.create(replace(QEMU, driver="uml", accel="none")).paths
    with pytest.raises(ConflictError, match="a machine 'src' already"):
        clone(store, "src", ["src"], workshop)
    with pytest.raises(UsageError, match="cannot name a machine"):
        clone(store, "src", ["No"], workshop)
    write_state(paths, StateRecord(state=State.RUNNING, processes={"supervisor": _me()}))
    with pytest.raises(UnsupportedError, match="the driver uml cannot copy a machine that runs") as caught:
        clone(store, "src", ["a"], workshop)
    assert "cove stop src" in (caught.value.hint or "")
    assert "--driver qemu" in (caught.value.hint or "")
    write_state(paths, StateRecord(state=State.STARTING, processes={"supervisor": _me()}))
    with pytest.raises(ConflictError, match="src is starting"):
        clone(store, "src", ["a"], workshop)
    assert store.names() == ["src"]


def _me() -> Identity:
    found = Identity.of(os.getpid())
    assert found is not None
    return found
