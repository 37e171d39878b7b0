# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from cove.errors import ConflictError, MachineError, NotFoundError, StorageError, UsageError
from cove.events import Event
from cove.machine import frozen
from cove.machine.assets import Workshop
from cove.machine.cache import prune
from cove.machine.disks import data_disk, ensure_disk, layers_of
from cove.machine.restoring import restore_snapshot
from cove.machine.resumption import resumption
from cove.machine.saved.folder import SavedGuest
from cove.machine.snapshots import current, delete_snapshot, save_snapshot, snapshots
from cove.machine.state import State
from cove.machine.store import StateRecord, Store, write_state
from cove.machine.unfinished import finish_restoring
from cove.spec.machine import MachineSpec
from cove.system.paths import Home, MachinePaths
from tests.unit.machine.test_clones import QEMU, silent, suspended

UML = replace(QEMU, driver="uml", accel="none")


@dataclass
class Bench:
    home: Home

    def report(self, _event: Event) -> None:
        pass


@pytest.fixture
def workshop(home: Home) -> Workshop:
    return cast(Workshop, Bench(home))


def stopped(store: Store, spec: MachineSpec) -> MachinePaths:
    paths = store.create(spec).paths
    ensure_disk(paths, spec.disk)
    write_state(paths, StateRecord(state=State.STOPPED))
    return paths


def write(paths: MachinePaths, text: str) -> None:
    """As a guest does; what a disk holds is told by its file."""
    with data_disk(paths).open("ab") as file:
        file.write(text.encode())


def chain(paths: MachinePaths) -> list[bytes]:
    """The ends of the disk's file and of all that it leads to."""
    ends = []
    for path in (data_disk(paths), *layers_of(data_disk(paths))):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8))
            ends.append(file.read().strip(b"\0"))
    return ends


def test_points_of_a_disk_are_gone_back_to_in_any_order(store: Store, workshop: Workshop) -> None:
    paths = stopped(store, QEMU)
    for name in ("one", "two", "three"):
        write(paths, name)
        save_snapshot(store, "src", name, workshop)
    write(paths, "later")
    assert [(each.name, each.parent, each.memory) for each in snapshots(paths)] == [
        ("one", None, False), ("two", "one", False), ("three", "two", False),
    ]  # fmt: skip
    for name, expected in (
        ("one", [b"one"]),
        ("three", [b"three", b"two", b"one"]),
        ("two", [b"two", b"one"]),
    ):
        restore_snapshot(store, "src", name, workshop)
        assert chain(paths) == [b"", *expected]
        assert store.load("src").record.state is State.STOPPED
        assert current(paths) == name
    write(paths, "other")
    assert save_snapshot(store, "src", "branch", workshop).parent == "two"
    assert not paths.restored.exists()
    assert not paths.restoring.exists()


def test_deleting_one_keeps_what_others_need(store: Store, workshop: Workshop) -> None:
    paths = stopped(store, QEMU)
    for name in ("one", "two", "three"):
        write(paths, name)
        save_snapshot(store, "src", name, workshop)
    delete_snapshot(store, "src", "two")
    assert [(each.name, each.parent) for each in snapshots(paths)] == [("one", None), ("three", "one")]
    assert chain(paths) == [b"", b"three", b"two", b"one"]
    delete_snapshot(store, "src", "three")
    assert current(paths) == "one"
    restore_snapshot(store, "src", "one", workshop)
    delete_snapshot(store, "src", "one")
    assert chain(paths) == [b"", b"one"]
    assert len(list(store.home.layers.iterdir())) == 1
    assert snapshots(paths) == []


def test_uml_has_copies(store: Store, workshop: Workshop) -> None:
    paths = stopped(store, UML)
    write(paths, "one")
    save_snapshot(store, "src", "one", workshop)
    write(paths, "two")
    restore_snapshot(store, "src", "one", workshop)
    assert chain(paths) == [b"one"]
    write(paths, "3")
    restore_snapshot(store, "src", "one", workshop)
    assert chain(paths) == [b"one"]


def test_memory_is_restored_with_the_disk_and_the_machine_as_it_was(store: Store, workshop: Workshop) -> None:
    paths = suspended(store).paths
    made = save_snapshot(store, "src", "warm", workshop)
    assert made.memory
    assert resumption(store.load("src"), store.home, silent) is not None  # it was suspended, and still is
    SavedGuest(paths.saved).discard()
    write_state(paths, StateRecord(state=State.STOPPED))
    write(paths, "later")
    store.set_spec(store.load("src"), replace(QEMU, cpus=2))
    for _ in range(2):
        restore_snapshot(store, "src", "warm", workshop)
        machine = store.load("src")
        assert (machine.record.state, machine.spec) == (State.SUSPENDED, QEMU)
        plan = resumption(machine, store.home, silent)
        assert plan is not None
        assert not plan.cloned
        assert not plan.private
        SavedGuest(paths.saved).discard()
    assert SavedGuest(made.paths.saved).memory.read_bytes() == b"memory"


def test_what_cannot_be_is_said(store: Store, workshop: Workshop) -> None:
    paths = store.create(QEMU).paths
    with pytest.raises(ConflictError, match="was never started"):
        save_snapshot(store, "src", "one", workshop)
    for name in ("", ".x", "a/b", "x" * 65):
        with pytest.raises(UsageError, match="cannot name a snapshot"):
            save_snapshot(store, "src", name, workshop)
    for ask in (restore_snapshot, lambda store, machine, name, _: delete_snapshot(store, machine, name)):
        with pytest.raises(NotFoundError, match="src has no snapshot 'one'"):
            ask(store, "src", "one", workshop)
    ensure_disk(paths, QEMU.disk)
    save_snapshot(store, "src", "one", workshop)
    with pytest.raises(ConflictError, match="has a snapshot 'one' already"):
        save_snapshot(store, "src", "one", workshop)
    (paths.snapshots / "one/snapshot.json").write_text("{}")
    assert snapshots(paths) == []
    with pytest.raises(MachineError, match="does not describe a snapshot"):
        restore_snapshot(store, "src", "one", workshop)
    delete_snapshot(store, "src", "one")
    assert not (paths.snapshots / "one").exists()


def test_full_disk_leaves_all_as_it_was(
    store: Store, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = stopped(store, QEMU)
    write(paths, "one")
    save_snapshot(store, "src", "one", workshop)
    write(paths, "two")
    before = chain(paths)

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(frozen, "derive", full)
    for ask in (save_snapshot, restore_snapshot):
        with pytest.raises(StorageError):
            ask(store, "src", "two" if ask is save_snapshot else "one", workshop)
    # a frozen disk has the same contents
    assert [end for end in chain(paths) if end] == before
    assert [each.name for each in snapshots(paths)] == ["one"]
    assert store.load("src").record.state is State.STOPPED


@pytest.mark.parametrize("spec", [QEMU, UML], ids=["qemu", "uml"])
def test_killed_at_any_step_of_a_restoring_it_is_the_one_or_the_other(
    store: Store, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, spec: MachineSpec
) -> None:
    """Every rename and removal is a step; we are killed before each of them in turn."""
    paths = stopped(store, spec)
    os.truncate(paths.data_disk, 4096)  # it is copied again and again
    write(paths, "one")
    save_snapshot(store, "src", "one", workshop)
    write(paths, "two")
    outcomes = set()
    for fatal in range(40):
        kept = paths.root.with_name("kept")
        shutil.copytree(paths.root, kept)
        steps = _die_at(monkeypatch, fatal)
        with suppress(KeyboardInterrupt):
            restore_snapshot(store, "src", "one", workshop)
        monkeypatch.undo()
        decided = paths.restored.exists()
        finish_restoring(paths)
        found = [end for end in chain(paths) if end]
        outcomes.add(found[0])
        assert found in ([b"one"], [b"onetwo"], [b"two", b"one"]), (fatal, decided)
        assert store.load("src").record.state is State.STOPPED
        shutil.rmtree(paths.root)
        kept.rename(paths.root)
        if steps() <= fatal:
            break
    assert b"one" in outcomes
    assert len(outcomes) == 2


def _die_at(monkeypatch: pytest.MonkeyPatch, fatal: int) -> Callable[[], int]:
    count = 0

    def before(name: str) -> None:
        real = getattr(Path, name)

        def step(path: Path, *args: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count > fatal:
                raise KeyboardInterrupt
            return real(path, *args, **options)

        monkeypatch.setattr(Path, name, step)

    for name in ("rename", "replace"):
        before(name)
    return lambda: count


def test_pruning_the_cache_keeps_what_snapshots_need(store: Store, workshop: Workshop) -> None:
    paths = stopped(store, QEMU)
    store.set_image(store.load("src"), "old")
    save_snapshot(store, "src", "one", workshop)
    store.set_image(store.load("src"), "new")
    for image in ("old", "new", "other"):
        (store.home.images / image).mkdir(parents=True)
    prune(store, everything=False)
    assert sorted(path.name for path in store.home.images.iterdir()) == ["new", "old"]
    assert json.loads((paths.snapshots / "one/snapshot.json").read_text())["image"] == "old"
