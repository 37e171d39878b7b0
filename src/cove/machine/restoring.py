# SPDX-License-Identifier: Apache-2.0
"""Bring a machine back to a snapshot of it. The snapshot stays, and can be restored again.

All that can fail for want of room happens before the machine is ended. Then one rename decides: what lies in
``restored/`` from there on is moved into the machine's folder, by whoever takes the machine up next if we are killed.
"""

from __future__ import annotations

from dataclasses import replace

from cove.errors import ConflictError
from cove.events import stage
from cove.machine.assets import Workshop
from cove.machine.disks import base_of, disk_in
from cove.machine.frozen import copy_state, frozen
from cove.machine.lifecycle import start, stop
from cove.machine.saved.folder import SavedGuest
from cove.machine.snapshots import Snapshot, find_snapshot, set_current
from cove.machine.state import State
from cove.machine.store import Machine, StateRecord, Store, write_state
from cove.machine.unfinished import finish_restoring
from cove.system.files import private_folder, remove_tree
from cove.system.paths import MachinePaths
from cove.system.sparse import sync_file


def restore_snapshot(store: Store, machine: str, name: str, workshop: Workshop) -> None:
    """Make a machine what it was; what it is now is given up. One that runs is ended at once, and runs afterwards.

    Raises:
        NotFoundError: there is no such machine or snapshot.
        CoveError: there is no room; the machine is as it was. Or it did not start, and is restored.
    """
    found = store.load(machine)
    snapshot = find_snapshot(found.paths, name)
    with stage(workshop.report, "restore", f"Restoring {name}"):
        with store.making():
            _prepare(store, found, snapshot)
        runs = found.running or found.asleep
        if found.supervised:
            stop(store, machine, deadline=0, report=workshop.report)
        with frozen(store, machine) as resting:
            if not resting.paths.restoring.is_dir():
                raise ConflictError(f"{machine} was restored by another process meanwhile")
            SavedGuest(resting.paths.saved).discard()
            resting.paths.restoring.rename(resting.paths.restored)
            sync_file(resting.paths.root)
            finish_restoring(resting.paths)
            set_current(resting.paths, name)
    if runs:
        start(store, machine, workshop)


def _prepare(store: Store, machine: Machine, snapshot: Snapshot) -> None:
    folder = machine.paths.restoring
    remove_tree(folder)
    scratch = MachinePaths(private_folder(folder))
    copy_state(snapshot.paths, scratch, base_of(disk_in(snapshot.folder)), machine.spec.driver)
    state = State.SUSPENDED if snapshot.memory else State.STOPPED
    write_state(scratch, StateRecord(state=state, reason=f"restored to {snapshot.name}"))
    spec = replace(snapshot.spec, name=machine.name)
    store.write(scratch, replace(machine, paths=scratch, spec=spec, image=snapshot.image))
    for path in (*folder.iterdir(), folder):
        sync_file(path)
