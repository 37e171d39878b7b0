# SPDX-License-Identifier: Apache-2.0
"""Start a supervisor with a plan, follow it until its machine runs, and give it up if nobody wants to wait."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress

from cove.errors import ConflictError, CoveError, DeadlineError, MachineError
from cove.events import Report, StageBegun, StageEnded, silent
from cove.machine.course import Course
from cove.machine.leftovers import clear_leftovers
from cove.machine.plan import LaunchPlan
from cove.machine.state import State
from cove.machine.store import Machine, Store
from cove.system.branch import branch, can_branch
from cove.system.files import locked, remove_tree, sweep_scratch, try_lock, write_json
from cove.system.paths import MachinePaths
from cove.system.process import Command, detach

STAGE_DEADLINE = 300.0
"""Seconds between two events of a start."""

SUSPEND_DEADLINE = 600.0
"""Seconds that it may take to write a guest to the disk."""

LOCK_DEADLINE = 60.0
"""Seconds that a supervisor which is just ending may take for that."""

ABANDON_DEADLINE = 10.0
"""Seconds that one which was told to end at once may take."""

_CLEAR_DEADLINE = 2.0


def run(
    machine: Machine,
    plan: LaunchPlan,
    store: Store,
    report: Report,
    course: Course | None = None,
    *,
    alone: bool = False,
) -> None:
    """Start a supervisor with this plan, and wait until the machine runs. The caller holds the start lock.

    Args:
        machine: which.
        plan: what to start.
        store: the machines.
        report: told of the stages.
        course: what this start has reached so far; the supervisor goes on with it.
        alone: this process is a command and does nothing else, so that the supervisor may be a fork of it.

    Raises:
        ConflictError: another process starts or deletes it.
        CoveError: what the supervisor says; nothing runs then.
    """
    lock = take_lock(machine.paths)
    try:
        clear_leftovers(machine.paths)
        # whoever else makes these files holds the start lock, as our caller does
        sweep_scratch(machine.paths.root)
        remove_tree(machine.paths.restoring)
        store.sweep()
        _launch(machine.paths, plan, lock, course or Course(), alone=alone)
    finally:
        os.close(lock)
    # it may have been made before there were contexts, or have lost its own; its creation told of problems
    if machine.owner is None:
        from cove.machine.contexts import publish

        publish(machine, store.home, silent)
    if plan.resume:
        _follow(
            machine.paths, report
        )  # Ctrl-C ends our waiting, which is short, but not what the guest has in memory
    else:
        _attend(machine, store, report)


def settled(store: Store, name: str, report: Report) -> Machine:
    """The machine once what others began with it is over. Call it with its start lock: who began a start is dead then.

    Raises:
        CoveError: it was being started, and that failed.
    """
    machine = store.load(name)
    if not machine.supervised:
        return machine
    from cove.machine.client import SupervisorClient

    client = SupervisorClient(machine.paths.supervisor_socket, name)
    match machine.record.state:
        case State.STARTING:
            _attend(machine, store, report)
        case State.RESUMING:
            with suppress(MachineError):  # the state tells what came of it
                client.call("POST", "/v1/wake", deadline=STAGE_DEADLINE)
        case State.SUSPENDING:
            with suppress(CoveError):
                client.call("POST", "/v1/suspend", {"asleep": False}, deadline=SUSPEND_DEADLINE)
        case _:
            return machine
    return store.load(name)


def _attend(machine: Machine, store: Store, report: Report) -> None:
    try:
        _follow(machine.paths, report)
    except KeyboardInterrupt:
        _abandon(store.load(machine.name))
        raise


def take_lock(paths: MachinePaths) -> int:
    """The machine's lock. A supervisor that is just ending gets time to do so."""
    with locked(paths.lock, waiting_for="ending the former run", deadline=LOCK_DEADLINE):
        pass
    handle = try_lock(paths.lock)
    if handle is None:
        raise ConflictError(f"{paths.name} is being started or deleted by another process")
    return handle


def _launch(paths: MachinePaths, plan: LaunchPlan, lock: int, course: Course, *, alone: bool) -> None:
    write_json(paths.launch, plan.to_dict())
    course.reach("prepare")
    course.save(paths.boot)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(paths.supervisor_socket))
        paths.supervisor_socket.chmod(0o600)
        listener.listen(64)  # so that we can connect at once; requests wait until it serves
        _begin_supervisor(paths, [listener.fileno(), lock], alone=alone)
    finally:
        listener.close()


def _begin_supervisor(paths: MachinePaths, descriptors: list[int], *, alone: bool) -> None:
    arguments = [str(paths.root), *map(str, descriptors)]
    if alone and can_branch():

        def supervise() -> None:
            from cove.machine.supervise import main

            main(arguments)

        branch(supervise, log=paths.supervisor_log, keep=descriptors)
        return
    argv = [sys.executable, "-m", "cove.machine.supervise", *arguments]
    detach(Command(tuple(argv), {"PYTHONUNBUFFERED": "1"}), log=paths.supervisor_log, pass_fds=descriptors)


def _follow(paths: MachinePaths, report: Report) -> None:
    """Report the supervisor's events until the machine runs.

    Raises:
        MachineError: it failed, or its supervisor ended without a word.
    """
    from cove.machine.client import SupervisorClient, error_from

    client = SupervisorClient(paths.supervisor_socket, paths.name)
    for event in client.events(deadline=STAGE_DEADLINE):
        match event["event"]:
            case "stage-begun":
                report(StageBegun(event["name"], event["label"]))
            case "stage-ended":
                report(StageEnded(event["name"], event["seconds"], event["ok"]))
            case "running":
                return
            case "failed":
                raise error_from(event["error"])
            case _:
                pass  # a newer supervisor may have more to say
    raise MachineError(f"the supervisor of {paths.name} ended without a word", log=paths.supervisor_log)


def _abandon(machine: Machine) -> None:
    """End a start that the user does not want to wait for."""
    from cove.machine.client import SupervisorClient

    supervisor = machine.record.processes.get("supervisor")
    try:
        client = SupervisorClient(machine.paths.supervisor_socket, machine.name)
        client.call("POST", "/v1/stop", {"deadline": 0}, deadline=ABANDON_DEADLINE)
    except MachineError:
        if supervisor is not None:
            supervisor.signal_group(signal.SIGKILL)  # its children end with it
    if supervisor is not None:
        supervisor.wait_gone(ABANDON_DEADLINE)


def clear_dead(paths: MachinePaths) -> None:
    """Clear what a machine left whose supervisor is dead."""
    try:
        # a process that is just being started may hold a copy of the dead one's lock for a moment
        with locked(paths.lock, waiting_for=f"starting {paths.name}", deadline=_CLEAR_DEADLINE):
            clear_leftovers(paths)
    except DeadlineError:
        return  # someone starts it right now, and clears it first
