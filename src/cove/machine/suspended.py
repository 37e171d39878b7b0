# SPDX-License-Identifier: Apache-2.0
"""Suspend a machine, let it go on, or give its guest up. Runs in the process of whoever asks."""

from __future__ import annotations

import os

from cove.errors import ConflictError, DeadlineError, MachineError
from cove.events import Note, Report, stage
from cove.machine.course import Course
from cove.machine.drivers import driver_named
from cove.machine.launching import (
    ABANDON_DEADLINE,
    STAGE_DEADLINE,
    SUSPEND_DEADLINE,
    run,
    take_lock,
)
from cove.machine.plan import LaunchPlan
from cove.machine.resumption import resumption
from cove.machine.saved.folder import SavedGuest
from cove.machine.state import State
from cove.machine.store import Machine, StateRecord, Store, write_state
from cove.vmm.base import check_suspend


def suspend(store: Store, name: str, report: Report, *, asleep: bool = False) -> bool:
    """Write the running guest of a machine to the disk. Says if it ran.

    Nothing runs for it afterwards, or with ``asleep`` only its supervisor, which lets the first client wake it.

    Raises:
        NotFoundError: there is no such machine.
        UnsupportedError: its driver cannot suspend.
        ConflictError: it does not run.
        CoveError: it could not be written; the machine goes on.
    """
    from cove.machine.client import SupervisorClient

    machine = store.load(name)
    check_suspend(driver_named(machine.spec.driver), machine.spec)
    if machine.record.state is State.SUSPENDED and (asleep or not machine.asleep):
        return False
    supervisor = machine.record.processes.get("supervisor")
    if supervisor is None or not (machine.running or machine.asleep):
        raise ConflictError(
            f"{name} is {machine.record.state}", hint="Only a running machine can be suspended."
        )
    with stage(report, "suspend", f"Suspending {name}"):
        client = SupervisorClient(machine.paths.supervisor_socket, name)
        client.call("POST", "/v1/suspend", {"asleep": asleep}, deadline=SUSPEND_DEADLINE)
        if not asleep and not supervisor.wait_gone(ABANDON_DEADLINE):
            raise DeadlineError(f"the supervisor of {name} did not end", log=machine.paths.supervisor_log)
    return machine.running


def go_on(
    machine: Machine,
    plan: LaunchPlan,
    store: Store,
    report: Report,
    course: Course | None = None,
    *,
    alone: bool = False,
) -> bool:
    """Let the machine's saved guest go on; says whether it did. Why not is reported."""
    try:
        run(machine, plan, store, report, course, alone=alone)
    except MachineError as error:
        report(Note(f"{machine.name} cannot go on where it was: {error.message}."))
        return False
    return True


def wake(machine: Machine, report: Report) -> None:
    """Have a sleeping guest go on."""
    from cove.machine.client import SupervisorClient

    with stage(report, "resume", "Waking the guest"):
        client = SupervisorClient(machine.paths.supervisor_socket, machine.name)
        client.call("POST", "/v1/wake", deadline=STAGE_DEADLINE)


def end_sleep(machine: Machine) -> None:
    """Give a sleeping guest up, and end its supervisor."""
    from cove.machine.client import SupervisorClient

    supervisor = machine.record.processes["supervisor"]
    client = SupervisorClient(machine.paths.supervisor_socket, machine.name)
    client.call("POST", "/v1/stop", {"deadline": 0}, deadline=ABANDON_DEADLINE)
    supervisor.wait_gone(ABANDON_DEADLINE)


def end_suspension(store: Store, name: str, orderly: bool, report: Report) -> None:
    """Let a suspended machine go on, to be stopped; or give its guest up."""
    machine = store.load(name)
    if machine.record.state is not State.SUSPENDED or machine.asleep:
        return  # its supervisor knows what to do
    plan = resumption(machine, store.home, report) if orderly else None
    if plan is not None and go_on(machine, plan, store, report):
        return
    lock = take_lock(machine.paths)
    try:
        SavedGuest(machine.paths.saved).discard()
        write_state(
            machine.paths, StateRecord(state=State.STOPPED, reason="its suspended guest was given up")
        )
    finally:
        os.close(lock)
