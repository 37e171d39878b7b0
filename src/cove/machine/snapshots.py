# SPDX-License-Identifier: Apache-2.0
"""Named points of a machine, to go back to: its disk, and where the driver can suspend what it had in memory.

A snapshot is a folder like a machine's own, with the same names in it. Under qemu its disk is an overlay that nobody
writes, over a layer that it shares with the machine; other drivers' snapshots have a copy of the disk.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cove.errors import ConflictError, MachineError, NotFoundError, UsageError
from cove.events import Report, stage
from cove.guest.client import GuestClient
from cove.machine.assets import Workshop
from cove.machine.disks import data_disk, sweep_layers
from cove.machine.drivers import driver_named
from cove.machine.frozen import copy_state, freeze_machine, frozen, resting
from cove.machine.launching import LOCK_DEADLINE
from cove.machine.saved.folder import SavedGuest
from cove.machine.saving import FREEZE
from cove.machine.store import Machine, Store
from cove.spec.machine import MachineSpec
from cove.system.files import allocated, building, locked, private_folder, read_json, remove_tree, write_json
from cove.system.paths import MachinePaths
from cove.system.sparse import sync_file

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FREEZE_DEADLINE = 60.0
_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, UsageError)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What is recorded of one.

    Args:
        folder: where it lies.
        created: seconds since the epoch.
        parent: the one that the machine was at before, if there still is one.
        spec: what the machine was then.
        image: the guest image that it ran with.
    """

    folder: Path
    created: float
    parent: str | None
    spec: MachineSpec
    image: str

    @property
    def name(self) -> str:
        """Its name."""
        return self.folder.name

    @property
    def paths(self) -> MachinePaths:
        """Its files, which have the names of a machine's."""
        return MachinePaths(self.folder)

    @property
    def memory(self) -> bool:
        """Whether it has what the machine had in memory, running containers included."""
        return SavedGuest(self.paths.saved).exists

    def to_dict(self) -> dict[str, object]:
        """As JSON data: size in bytes, of what is not shared with other disks; created in seconds since the epoch."""
        return {
            "name": self.name,
            "created": self.created,
            "parent": self.parent,
            "memory": self.memory,
            "size": allocated(self.folder),
        }


def check_snapshot_name(name: str) -> str:
    """Return ``name`` if it can name a snapshot. Pure.

    Raises:
        UsageError: it is not a letter or digit followed by up to 63 letters, digits, dots, dashes, underscores.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a snapshot",
            hint="A letter or digit, then up to 63 letters, digits, dots, dashes and underscores.",
        )
    return name


def snapshots(paths: MachinePaths) -> list[Snapshot]:
    """All of a machine, the oldest first; one whose record is damaged is left out."""
    found = []
    for folder in paths.snapshots.glob("[!.]*/"):
        with suppress(MachineError):
            found.append(_read(folder))
    return sorted(found, key=lambda each: (each.created, each.name))


def find_snapshot(paths: MachinePaths, name: str) -> Snapshot:
    """One of a machine.

    Raises:
        NotFoundError: there is none of this name.
        MachineError: its record is damaged.
    """
    folder = paths.snapshots / check_snapshot_name(name)
    if not folder.is_dir():
        raise NotFoundError(
            f"{paths.name} has no snapshot {name!r}",
            hint=f"See which there are: cove snapshot list {paths.name}",
        )
    return _read(folder)


def save_snapshot(store: Store, machine: str, name: str, workshop: Workshop) -> Snapshot:
    """Give what a machine is now a name.

    A running machine is suspended for it and goes on, where its driver can; else its disk is frozen while it is copied.

    Raises:
        NotFoundError: there is no such machine.
        ConflictError: there is such a snapshot, or nothing to save, since the machine was never started.
        CoveError: it could not be written; nothing of it is left, and the machine is as it was.
    """
    found = store.load(machine)
    if (found.paths.snapshots / check_snapshot_name(name)).exists():
        raise ConflictError(
            f"{machine} has a snapshot {name!r} already", hint=f"cove snapshot delete {machine} {name}"
        )
    if not data_disk(found.paths).exists():
        raise ConflictError(
            f"{machine} was never started", hint=f"There is nothing to save yet: cove start {machine}"
        )
    if found.running and not driver_named(found.spec.driver).capabilities.suspend:
        return _save_running(store, found, name, workshop.report)
    with (
        resting(store, machine, workshop),
        frozen(store, machine) as still,
        stage(workshop.report, "snapshot", f"Saving {name}"),
    ):
        return _write(still, name, freeze_machine(still, store.home))


def delete_snapshot(store: Store, machine: str, name: str) -> None:
    """Remove one; what others need of it stays. Those that followed it follow the one before it.

    Raises:
        NotFoundError: there is no such machine or snapshot.
    """
    paths = store.find(machine)
    with store.making():
        folder = paths.snapshots / check_snapshot_name(name)
        if not folder.is_dir():
            find_snapshot(paths, name)
        parent = _parent_of(folder)
        doomed = folder.with_name(f".{name}.gone")
        remove_tree(doomed)
        folder.rename(doomed)
        for each in snapshots(paths):
            if each.parent == name:
                write_json(each.folder / "snapshot.json", _record(replace(each, parent=parent)))
        if current(paths) == name:
            set_current(paths, parent)
        remove_tree(doomed)
        sweep_layers(store.home)


def current(paths: MachinePaths) -> str | None:
    """The snapshot that the machine was saved or restored to last."""
    found = read_json(paths.snapshots / "current.json")
    return found if isinstance(found, str) else None


def set_current(paths: MachinePaths, name: str | None) -> None:
    """Remember which one the next is to follow."""
    write_json(paths.snapshots / "current.json", name)


def _save_running(store: Store, machine: Machine, name: str, report: Report) -> Snapshot:
    """Of a guest that goes on running: its disk, on which it writes nothing meanwhile."""
    client = GuestClient(machine.paths.agent_socket, deadline=_FREEZE_DEADLINE)
    with (
        locked(machine.paths.start_lock, waiting_for=f"starting {machine.name}", deadline=LOCK_DEADLINE),
        store.making(),
        stage(report, "snapshot", f"Saving {name}"),
    ):
        client.call("freeze", seconds=FREEZE)
        thawed: Mapping[str, Any] = {}
        try:
            made = _write(machine, name, data_disk(machine.paths))
        finally:
            thawed = client.call("thaw")
        if not thawed.get("frozen"):
            remove_tree(made.folder)
            raise MachineError(
                f"copying the disk of {machine.name} took longer than {FREEZE:.0f} s, in which it was written again",
                hint=f"Stop it first: cove stop {machine.name}",
            )
    return made


def _write(machine: Machine, name: str, base: Path) -> Snapshot:
    paths = machine.paths
    private_folder(paths.snapshots)
    parent = current(paths)
    with building(paths.snapshots / name) as folder:
        copy_state(paths, MachinePaths(folder), base, machine.spec.driver)
        made = Snapshot(
            folder=folder, created=time.time(), parent=parent, spec=machine.spec, image=machine.image
        )
        write_json(folder / "snapshot.json", _record(made))
        for path in (*folder.iterdir(), folder):
            sync_file(path)
    sync_file(paths.snapshots)
    set_current(paths, name)
    return replace(made, folder=paths.snapshots / name)


def _record(snapshot: Snapshot) -> dict[str, object]:
    return {
        "version": 1,
        "created": snapshot.created,
        "parent": snapshot.parent,
        "spec": snapshot.spec.to_dict(),
        "image": snapshot.image,
    }


def _read(folder: Path) -> Snapshot:
    data: Any = read_json(folder / "snapshot.json")
    try:
        return Snapshot(
            folder=folder,
            created=float(data["created"]),
            parent=data["parent"],
            spec=MachineSpec.from_dict(data["spec"]),
            image=str(data["image"]),
        )
    except _DAMAGED as error:
        raise MachineError(
            f"{folder}/snapshot.json does not describe a snapshot",
            hint=f"Remove it: cove snapshot delete {folder.parent.parent.name} {folder.name}",
        ) from error


def _parent_of(folder: Path) -> str | None:
    try:
        return _read(folder).parent
    except MachineError:
        return None
