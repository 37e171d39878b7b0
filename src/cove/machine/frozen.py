# SPDX-License-Identifier: Apache-2.0
"""A machine at rest, from which clones and snapshots are made: its disk frozen, its saved guest shared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cove.errors import ConflictError
from cove.machine.assets import Workshop
from cove.machine.disks import derive, freeze
from cove.machine.drivers import driver_named
from cove.machine.launching import LOCK_DEADLINE, take_lock
from cove.machine.lifecycle import start
from cove.machine.saved.folder import SavedGuest
from cove.machine.state import ALIVE
from cove.machine.store import Machine, Store
from cove.machine.suspended import suspend
from cove.machine.unfinished import finish_restoring
from cove.spec.machine import Driver
from cove.system.files import locked, storage_errors
from cove.system.paths import Home, MachinePaths
from cove.vmm.base import unsupported


@contextmanager
def resting(store: Store, name: str, workshop: Workshop) -> Iterator[None]:
    """Keep a machine suspended during the block that runs or sleeps, and let it go on afterwards, however that ends.

    Args:
        store: the machines.
        name: which one; one that does not run stays as it is.
        workshop: where programs come from, should it have to boot.

    Raises:
        NotFoundError: there is no such machine.
        UnsupportedError: it runs, and its driver cannot suspend.
        CoveError: it could not be suspended, and goes on.
    """
    machine = store.load(name)
    if not (machine.running or machine.asleep):
        yield
        return
    if not driver_named(machine.spec.driver).capabilities.suspend:
        raise unsupported(
            machine.spec.driver,
            "copy a machine that runs",
            hint=f"Stop it first: cove stop {name}. Or use a machine of another driver: cove create NAME --driver qemu",
        )
    try:
        suspend(store, name, workshop.report)
    except KeyboardInterrupt:  # which ends only our waiting: it will be suspended
        start(store, name, workshop)
        raise
    try:
        yield
    finally:
        start(store, name, workshop)


@contextmanager
def frozen(store: Store, name: str) -> Iterator[Machine]:
    """Keep a machine at rest, and be the only one who makes or removes machines and layers.

    Raises:
        NotFoundError: there is no such machine.
        ConflictError: it runs.
        DeadlineError: another process has had it for too long.
    """
    paths = store.find(name)
    with locked(paths.start_lock, waiting_for=f"starting {name}", deadline=LOCK_DEADLINE):
        machine = store.load(name)
        if machine.record.state in ALIVE or machine.asleep:
            raise ConflictError(f"{name} is {machine.record.state}", hint=f"cove stop {name}")
        handle = take_lock(paths)
        try:
            with store.making():
                finish_restoring(paths)
                yield store.load(name)
        finally:
            os.close(handle)


def freeze_machine(machine: Machine, home: Home) -> Path:
    """Freeze the disk of a machine at rest; its saved guest goes on with what takes the disk's place.

    Returns:
        what other disks can be based on, by :func:`cove.machine.disks.derive`.

    Raises:
        StorageError: it cannot be written.
    """
    guest = SavedGuest(machine.paths.saved)
    expect = guest.expect_disk if guest.exists else _nothing
    return freeze(machine.paths, machine.spec.driver, home, expect)


def copy_state(source: MachinePaths, target: MachinePaths, base: Path, driver: Driver) -> None:
    """Give a folder what a machine at rest holds: disk, engine's settings, and the saved guest if there is one.

    Args:
        source: the machine, or a snapshot of it.
        target: a scratch folder.
        base: what its disk is based on, from :func:`freeze_machine`.
        driver: who runs it.

    Raises:
        StorageError: there is no room for it.
    """
    disk = derive(base, target.root, driver)
    with storage_errors("copying a machine"):
        if source.settings.exists():
            shutil.copy(source.settings, target.settings)
    guest = SavedGuest(source.saved)
    if guest.exists:
        guest.link_to(SavedGuest(target.saved), disk)


def _nothing(_disk: Path) -> None:
    """There is no saved guest that has to fit."""
