# SPDX-License-Identifier: Apache-2.0
"""Create, start, stop and delete, each as a recipe. Runs in the process of whoever asks."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from cove.errors import ConflictError, MachineError
from cove.events import Report, stage
from cove.machine.course import Course
from cove.machine.launching import (
    ABANDON_DEADLINE,
    LOCK_DEADLINE,
    STAGE_DEADLINE,
    clear_dead,
    run,
    settled,
    take_lock,
)
from cove.machine.leftovers import clear_leftovers
from cove.machine.resumption import resumption
from cove.machine.state import ALIVE, State
from cove.machine.store import Machine, Store, observe
from cove.machine.suspended import end_sleep, end_suspension, go_on, wake
from cove.system.files import locked

if TYPE_CHECKING:
    from cove.machine.assets import Workshop

STOP_DEADLINE = 30.0
"""Seconds that a clean stop may take before the machine is ended."""


def start(
    store: Store,
    name: str,
    workshop: Workshop,
    *,
    cold: bool = False,
    begun: float | None = None,
    alone: bool = False,
) -> Machine:
    """Start the machine ``name`` and wait until its engine answers; a running one is left as it is.

    A suspended one goes on where it was. When its guest no longer fits, why is reported, and it boots.

    Args:
        store: the machines.
        name: which one.
        workshop: where programs and image come from.
        cold: boot also a suspended machine; its guest is given up.
        begun: when this began, on time.monotonic(), for the record of its stages; now by default.
        alone: this process is a command and does nothing else; see :func:`cove.machine.launching.run`.

    Raises:
        NotFoundError: there is no such machine.
        MachineError: it did not start; nothing runs afterwards, and its data disk is as it was.
        CoveError: programs or image could not be made.
    """
    course = Course(begun)
    course.reach("command")
    paths = store.load(name).paths
    with locked(paths.start_lock, waiting_for=f"starting {name}", deadline=STAGE_DEADLINE):
        machine = settled(store, name, workshop.report)
        if not machine.supervised and paths.restored.is_dir():  # whoever restored it was killed
            from cove.machine.unfinished import finish_restoring

            finish_restoring(paths)
            machine = store.load(name)
        if machine.running:
            return machine
        if machine.asleep and not cold:
            wake(machine, workshop.report)
            return store.load(name)
        if machine.asleep:
            end_sleep(machine)
        plan = None if cold else resumption(machine, store.home, workshop.report)
        went_on = plan is not None and go_on(machine, plan, store, workshop.report, course, alone=alone)
        # loaded only now: a guest that goes on does not wait for the code of a boot
        from cove.machine import preparation

        if went_on:
            preparation.renew_settings(machine, workshop)
        else:
            run(machine, preparation.prepare(store, machine, workshop), store, workshop.report, course)
    return store.load(name)


def stop(store: Store, name: str, *, deadline: float = STOP_DEADLINE, report: Report) -> bool:
    """Stop a machine: containers, then the disk, then the kernel; after ``deadline`` seconds it is ended.

    A suspended machine goes on first, so that its containers are stopped as they expect; with no time for that, or
    when it cannot go on, its guest is given up.

    Returns:
        whether it ran. One whose supervisor died is cleared of what it left.
    """
    from cove.machine.client import SupervisorClient

    paths = store.find(name)
    if observe(paths).state is State.SUSPENDED:
        with locked(paths.start_lock, waiting_for=f"starting {name}", deadline=LOCK_DEADLINE):
            end_suspension(store, name, deadline > 0, report)
    supervisor = observe(paths).processes.get("supervisor")
    if supervisor is None or not supervisor.alive():
        clear_dead(paths)
        return False
    client = SupervisorClient(paths.supervisor_socket, name)
    with stage(report, "stop", f"Stopping {name}"):
        try:
            client.call("POST", "/v1/stop", {"deadline": deadline}, deadline=deadline + 20)
        except MachineError:
            # one that is just ending resets those who came too late to be answered
            if deadline > 0 and not supervisor.wait_gone(ABANDON_DEADLINE):
                raise
        if not supervisor.wait_gone(10):
            supervisor.signal_group(signal.SIGKILL)
            supervisor.wait_gone(5)
            clear_dead(paths)
    return True


def delete(store: Store, name: str, *, force: bool, report: Report) -> None:
    """Delete a machine with its data disk, also one whose machine.json is damaged. Nothing of it is left.

    Raises:
        NotFoundError: there is no such machine.
        ConflictError: it runs, and ``force`` is not given.
    """
    from cove.machine.contexts import withdraw
    from cove.machine.disks import sweep_layers

    paths = store.find(name)
    record = observe(paths)
    if record.state in ALIVE and not force:
        raise ConflictError(
            f"{name} is {record.state}", hint=f"cove stop {name}, or cove delete --force {name}"
        )
    if record.processes:
        stop(store, name, deadline=0, report=report)
    with locked(paths.start_lock, waiting_for=f"starting {name}", deadline=LOCK_DEADLINE):
        lock = take_lock(paths)
        try:
            clear_leftovers(paths)
            store.remove(paths)
            with store.making():
                sweep_layers(store.home)
        finally:
            os.close(lock)
    withdraw(paths, store.home, report)
