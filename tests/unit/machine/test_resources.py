# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from dataclasses import replace

import pytest

from cove.errors import GuestError, MachineError, NotFoundError, UsageError
from cove.events import silent
from cove.machine.resources import pending, set_resources, trim
from cove.machine.state import State
from cove.machine.store import StateRecord, Store, write_state
from cove.spec.change import SpecChange
from cove.system.files import make_sparse, write_json
from cove.system.process import Identity
from cove.units import GIB, MIB
from tests.unit.machine.world import SPEC


def test_a_change_is_recorded_with_the_rest(store: Store) -> None:
    machine = store.create(SPEC)
    store.set_image(machine, "image")
    changed = set_resources(store, "dev", SpecChange(memory=512 * MIB, disk=2 * GIB), silent)
    assert changed.spec == replace(SPEC, memory=512 * MIB, disk=2 * GIB)
    assert store.load("dev").spec == changed.spec
    assert (changed.image, changed.created) == ("image", machine.created)
    assert pending(changed) == []  # it does not run


def test_a_refused_change_changes_nothing(store: Store) -> None:
    store.create(SPEC)
    for wanted in (
        SpecChange(cpus=2),
        SpecChange(memory=1),
        SpecChange(disk=1),
        SpecChange(cpus=0, memory=GIB),
    ):
        with pytest.raises(UsageError):
            set_resources(store, "dev", wanted, silent)
    assert store.load("dev").spec == SPEC
    with pytest.raises(NotFoundError):
        set_resources(store, "nobody", SpecChange(), silent)


def test_a_running_one_waits_for_its_next_start(store: Store) -> None:
    machine = store.create(SPEC)
    ours = Identity.of(os.getpid())
    assert ours is not None
    write_state(machine.paths, StateRecord(state=State.RUNNING, processes={"supervisor": ours}))
    write_json(machine.paths.launch, {"spec": SPEC.to_dict()})
    make_sparse(machine.paths.data_disk, SPEC.disk)
    assert pending(store.load("dev")) == []
    with pytest.raises(GuestError):  # here runs no guest whose file system could grow
        set_resources(store, "dev", SpecChange(memory=512 * MIB, disk=2 * GIB), silent)
    assert store.load("dev").spec.disk == 2 * GIB
    os.truncate(machine.paths.data_disk, 2 * GIB)
    assert pending(store.load("dev")) == ["memory"]


def test_only_a_running_one_can_be_trimmed(store: Store) -> None:
    with pytest.raises(MachineError, match="is created"):
        trim(store.create(SPEC))
