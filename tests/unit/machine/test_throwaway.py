# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace

import pytest

from cove.machine import owner as owners
from cove.machine.disks import ensure_disk, freeze
from cove.machine.owner import end_of, remove_own
from cove.machine.store import Machine, Store
from cove.machine.throwaway import sweep_abandoned
from cove.system.process import Identity
from tests.unit.machine.world import SPEC


def identity(pid: int) -> Identity:
    found = Identity.of(pid)
    assert found is not None
    return found


def dead() -> Identity:
    with subprocess.Popen(["sleep", "60"]) as child:
        found = identity(child.pid)
        child.kill()
    return found


def owned(store: Store, name: str, by: Identity) -> Machine:
    made = store.create(replace(SPEC, name=name))
    store.write(made.paths, replace(made, owner=by))
    return store.load(name)


def test_owner_is_recorded_and_survives_changes(store: Store) -> None:
    made = owned(store, "mine", identity(os.getpid()))
    assert made.owner == identity(os.getpid())
    assert not made.abandoned
    store.set_image(made, "abc")
    store.set_spec(store.load("mine"), replace(made.spec, cpus=1))
    assert (store.load("mine").owner, store.load("mine").image) == (made.owner, "abc")
    assert store.create(SPEC).owner is None


def test_what_the_dead_left_is_removed_and_nothing_else(store: Store) -> None:
    owned(store, "mine", identity(os.getpid()))
    owned(store, "dead", dead())
    store.create(SPEC)
    sweep_abandoned(store)
    assert store.names() == ["dev", "mine"]


def test_own_removal_takes_the_layers_along(store: Store) -> None:
    made = owned(store, "dead", dead())
    ensure_disk(made.paths, SPEC.disk)
    freeze(made.paths, "qemu", store.home)
    remove_own(made.paths)
    assert store.names() == []
    assert not list(store.home.layers.iterdir())


@pytest.mark.parametrize("pidfd", [True, False])
async def test_end_of_a_process_is_noticed(pidfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open")
        monkeypatch.setattr(owners, "_LOOK_AGAIN", 0.02)
    child = await asyncio.create_subprocess_exec("sleep", "60")
    waiting = asyncio.create_task(end_of(identity(child.pid)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    child.kill()
    await child.wait()
    await asyncio.wait_for(waiting, 20)
    await asyncio.wait_for(end_of(dead()), 20)
