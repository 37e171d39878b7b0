# SPDX-License-Identifier: Apache-2.0
"""Throw-away machines: clones of a template that go with the process they are for, however that ends.

Their supervisor watches the process and removes the machine after it. What a power failure leaves is removed before
the next one is made.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress

from cove.errors import CoveError, UnsupportedError
from cove.events import silent
from cove.machine.assets import Workshop
from cove.machine.clones import clone
from cove.machine.lifecycle import delete, start, stop
from cove.machine.resumption import resumption
from cove.machine.state import State
from cove.machine.store import Machine, Store
from cove.machine.suspended import suspend
from cove.system.files import locked
from cove.system.process import Identity

TEMPLATE = "fresh"
"""The machine that is copied if none is named; it is made when it is missing."""

_TEMPLATE_DEADLINE = 900.0
"""Seconds that others may take to make the template, downloads included."""


def make_throwaway(store: Store, template: str, workshop: Workshop) -> Machine:
    """A running copy of a machine, for this process.

    Raises:
        NotFoundError: there is no such template.
        CoveError: it cannot be copied, or did not start; nothing of the copy is left.
    """
    owner = Identity.of(os.getpid())
    sweep_abandoned(store)
    name = f"{template[:20]}-{secrets.token_hex(4)}"
    clone(store, template, [name], workshop, owner=owner)
    try:
        return start(store, name, workshop)
    except BaseException:
        with suppress(CoveError):
            remove_throwaway(store, name)
        raise


def remove_throwaway(store: Store, name: str) -> None:
    """End and remove it.

    Raises:
        CoveError: something of it cannot be ended or removed.
    """
    delete(store, name, force=True, report=silent)


def sweep_abandoned(store: Store) -> None:
    """Remove throw-away machines whose processes have ended; one that cannot be removed is left for later."""
    for name in store.names():
        with suppress(CoveError):
            if store.load(name).abandoned:
                remove_throwaway(store, name)


def bring_to_rest(store: Store, name: str, workshop: Workshop) -> None:
    """Have a template from which copies start as fast as its driver can: suspended, or else stopped after a start.

    One that cannot go on any more, because QEMU or its image is another by now, is started and suspended anew.

    Raises:
        NotFoundError: there is no such machine.
        CoveError: it cannot be started or ended.
    """
    with locked(store.home.machines / ".template", waiting_for=f"making {name}", deadline=_TEMPLATE_DEADLINE):
        machine = store.load(name)
        if machine.record.state is State.SUSPENDED and not machine.asleep:
            if resumption(machine, store.home, silent) is not None:
                return
        elif machine.record.state is State.STOPPED and not _can_suspend(machine):
            return
        machine = start(store, name, workshop)
        try:
            suspend(store, name, workshop.report)
        except UnsupportedError:
            stop(store, name, report=workshop.report)


def _can_suspend(machine: Machine) -> bool:
    from cove.machine.drivers import driver_named
    from cove.vmm.base import check_suspend

    try:
        check_suspend(driver_named(machine.spec.driver), machine.spec)
    except UnsupportedError:
        return False
    return True
