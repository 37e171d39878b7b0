# SPDX-License-Identifier: Apache-2.0
"""Copies of a machine: of a suspended one with all that it does, of a stopped one its disk. They cost what they change.

A clone's memory is the very file of the suspended machine (a second name of it), which is only ever read; its disk is
an overlay over the frozen disk. Everything else is its own: network, sockets, host name, random numbers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cove.errors import ConflictError, UsageError
from cove.events import stage
from cove.machine.assets import Workshop
from cove.machine.contexts import publish
from cove.machine.frozen import copy_state, freeze_machine, frozen, resting
from cove.machine.saved.folder import SavedGuest
from cove.machine.state import State
from cove.machine.store import Machine, StateRecord, Store, write_state
from cove.system.files import building
from cove.system.paths import MachinePaths
from cove.system.process import Identity

MOST = 1000
"""Clones that can be made at once; a slip of the finger should not fill a disk with folders."""


def clone_names(target: str, count: int | None) -> list[str]:
    """The names of the clones: ``target``, or ``target-1`` and so on. Pure.

    Raises:
        UsageError: there cannot be so many.
    """
    if count is None:
        return [target]
    if not 1 <= count <= MOST:
        raise UsageError(f"--count {count}: between 1 and {MOST} clones can be made at once")
    return [f"{target}-{number}" for number in range(1, count + 1)]


def clone(
    store: Store, source: str, names: Sequence[str], workshop: Workshop, *, owner: Identity | None = None
) -> list[Machine]:
    """Make copies of a machine that go on where it is, or boot from its disk; they are not started.

    A running machine is suspended for that, and goes on afterwards.

    Args:
        store: the machines.
        source: which one is copied.
        names: of the copies.
        workshop: where programs come from, should the source have to boot.
        owner: the process with which they go, if they are to be thrown away; they get no docker contexts then.

    Raises:
        NotFoundError: there is no such machine.
        ConflictError: a name is taken, or the machine is neither running, suspended nor stopped.
        UnsupportedError: the machine runs, and its driver cannot suspend.
        CoveError: they cannot be made; those that were made before are there.
    """
    for name in names:
        if store.home.machine(name).root.exists():
            raise ConflictError(f"there is a machine {name!r} already", hint="Choose another name.")
    with (
        resting(store, source, workshop),
        frozen(store, source) as machine,
        stage(workshop.report, "clone", f"Cloning {source}"),
    ):
        base = freeze_machine(machine, store.home)
        made = [_one(store, machine, base, name, owner) for name in names]
    for one in made if owner is None else ():
        publish(one, store.home, workshop.report)
    return made


def _one(store: Store, machine: Machine, base: Path, name: str, owner: Identity | None) -> Machine:
    paths = store.home.machine(name)
    with building(paths.root) as folder:
        scratch = MachinePaths(folder)
        copy_state(machine.paths, scratch, base, machine.spec.driver)
        suspended = SavedGuest(scratch.saved).exists
        state = State.SUSPENDED if suspended else State.CREATED
        write_state(scratch, StateRecord(state=state, reason=f"a clone of {machine.name}"))
        spec = replace(machine.spec, name=name)
        store.write(scratch, replace(machine, paths=scratch, spec=spec, created=time.time(), owner=owner))
    return store.load(name)
