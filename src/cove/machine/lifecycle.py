# SPDX-License-Identifier: Apache-2.0
"""Create, start, stop and delete, each as a recipe. Runs in the process of whoever asks."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from cove.errors import ConflictError, DeadlineError, MachineError
from cove.events import Note, Report, StageBegun, StageEnded, silent, stage
from cove.machine.assets import Workshop
from cove.machine.client import SupervisorClient, error_from
from cove.machine.contexts import publish, withdraw
from cove.machine.drivers import driver_named
from cove.machine.leftovers import clear_leftovers
from cove.machine.placement import choose_host_cpu
from cove.machine.plan import LaunchPlan
from cove.machine.resumption import resumption
from cove.machine.saved.folder import SavedGuest
from cove.machine.settings import gather, write_disk
from cove.machine.shares import check_present, hidden_folders
from cove.machine.state import ALIVE, State
from cove.machine.store import Machine, StateRecord, Store, observe, write_state
from cove.spec.facts import choose_memory_place
from cove.system.files import grow_sparse, link_to, locked, make_sparse, try_lock, write_json
from cove.system.paths import MachinePaths
from cove.system.probe import host_facts
from cove.system.process import Command, detach
from cove.vmm.base import BootFiles, check_suspend

STOP_DEADLINE = 30.0
"""Seconds that a clean stop may take before the machine is ended."""

_STAGE_DEADLINE = 300.0
_SUSPEND_DEADLINE = 600.0
_LOCK_DEADLINE = 60.0
_ABANDON_DEADLINE = 10.0
_CLEAR_DEADLINE = 2.0


def start(store: Store, name: str, workshop: Workshop, *, cold: bool = False) -> Machine:
    """Start the machine ``name`` and wait until its engine answers; a running one is left as it is.

    A suspended one goes on where it was. When its guest no longer fits, why is reported, and it boots.

    Args:
        store: the machines.
        name: which one.
        workshop: where programs and image come from.
        cold: boot also a suspended machine; its guest is given up.

    Raises:
        NotFoundError: there is no such machine.
        MachineError: it did not start; nothing runs afterwards, and its data disk is as it was.
        CoveError: programs or image could not be made.
    """
    paths = store.load(name).paths
    with locked(paths.start_lock, waiting_for=f"starting {name}", deadline=_STAGE_DEADLINE):
        machine = store.load(name)
        if machine.running:
            return machine
        plan = None if cold else resumption(machine, store.home, workshop.report)
        if plan is None or not _go_on(machine, plan, store, workshop.report):
            _run(machine, _prepare(store, machine, workshop), store, workshop.report)
    return store.load(name)


def suspend(store: Store, name: str, report: Report) -> bool:
    """Write the running guest of a machine to the disk; nothing runs for it afterwards. Says if it ran.

    Raises:
        NotFoundError: there is no such machine.
        UnsupportedError: its driver cannot suspend.
        ConflictError: it does not run.
        CoveError: it could not be written; the machine goes on.
    """
    machine = store.load(name)
    check_suspend(driver_named(machine.spec.driver), machine.spec)
    if machine.record.state is State.SUSPENDED:
        return False
    supervisor = machine.record.processes.get("supervisor")
    if supervisor is None or not machine.running:
        raise ConflictError(
            f"{name} is {machine.record.state}", hint="Only a running machine can be suspended."
        )
    with stage(report, "suspend", f"Suspending {name}"):
        client = SupervisorClient(machine.paths.supervisor_socket, name)
        client.call("POST", "/v1/suspend", deadline=_SUSPEND_DEADLINE)
        if not supervisor.wait_gone(_ABANDON_DEADLINE):
            raise DeadlineError(f"the supervisor of {name} did not end", log=machine.paths.supervisor_log)
    return True


def stop(store: Store, name: str, *, deadline: float = STOP_DEADLINE, report: Report) -> bool:
    """Stop a machine: containers, then the disk, then the kernel; after ``deadline`` seconds it is ended.

    A suspended machine goes on first, so that its containers are stopped as they expect; with no time for that, or
    when it cannot go on, its guest is given up.

    Returns:
        whether it ran. One whose supervisor died is cleared of what it left.
    """
    paths = store.find(name)
    if observe(paths).state is State.SUSPENDED:
        with locked(paths.start_lock, waiting_for=f"starting {name}", deadline=_LOCK_DEADLINE):
            _end_suspension(store, name, deadline > 0, report)
    supervisor = observe(paths).processes.get("supervisor")
    if supervisor is None or not supervisor.alive():
        _clear_dead(paths)
        return False
    client = SupervisorClient(paths.supervisor_socket, name)
    with stage(report, "stop", f"Stopping {name}"):
        try:
            client.call("POST", "/v1/stop", {"deadline": deadline}, deadline=deadline + 20)
        except MachineError:
            # one that is just ending resets those who came too late to be answered
            if deadline > 0 and not supervisor.wait_gone(_ABANDON_DEADLINE):
                raise
        if not supervisor.wait_gone(10):
            supervisor.signal_group(signal.SIGKILL)
            supervisor.wait_gone(5)
            _clear_dead(paths)
    return True


def _end_suspension(store: Store, name: str, orderly: bool, report: Report) -> None:
    """Let a suspended machine go on, to be stopped; or give its guest up."""
    machine = store.load(name)
    if machine.record.state is not State.SUSPENDED:
        return
    plan = resumption(machine, store.home, report) if orderly else None
    if plan is not None and _go_on(machine, plan, store, report):
        return
    lock = _take_lock(machine.paths)
    try:
        SavedGuest(machine.paths.saved).discard()
        write_state(
            machine.paths, StateRecord(state=State.STOPPED, reason="its suspended guest was given up")
        )
    finally:
        os.close(lock)


def delete(store: Store, name: str, *, force: bool, report: Report) -> None:
    """Delete a machine with its data disk, also one whose machine.json is damaged. Nothing of it is left.

    Raises:
        NotFoundError: there is no such machine.
        ConflictError: it runs, and ``force`` is not given.
    """
    paths = store.find(name)
    state = observe(paths).state
    if state in ALIVE:
        if not force:
            raise ConflictError(f"{name} is {state}", hint=f"cove stop {name}, or cove delete --force {name}")
        stop(store, name, deadline=0, report=report)
    with locked(paths.start_lock, waiting_for=f"starting {name}", deadline=_LOCK_DEADLINE):
        lock = _take_lock(paths)
        try:
            clear_leftovers(paths)
            store.remove(paths)
        finally:
            os.close(lock)
    withdraw(paths, store.home, report)


def _go_on(machine: Machine, plan: LaunchPlan, store: Store, report: Report) -> bool:
    """Let the machine's saved guest go on; says whether it did. Why not is reported."""
    try:
        _run(machine, plan, store, report)
    except MachineError as error:
        report(Note(f"{machine.name} cannot go on where it was: {error.message}."))
        return False
    return True


def _run(machine: Machine, plan: LaunchPlan, store: Store, report: Report) -> None:
    """Start a supervisor with this plan, and wait until the machine runs."""
    lock = _take_lock(machine.paths)
    try:
        clear_leftovers(machine.paths)
        _launch(machine.paths, plan, lock)
    finally:
        os.close(lock)
    # it may have been made before there were contexts, or have lost its own; its creation told of problems
    publish(machine, store.home, silent)
    try:
        _follow(machine.paths, report)
    except KeyboardInterrupt:
        _abandon(store.load(machine.name))
        raise


def _prepare(store: Store, machine: Machine, workshop: Workshop) -> LaunchPlan:
    """Everything a start needs, as data; what is missing is fetched and built."""
    spec = machine.spec
    check_present(spec.shares)
    driver = driver_named(spec.driver)
    tools: dict[str, Command] = {}
    firmware: list[Path] = []
    for group in (*driver.needs(spec), "net", *(["share"] if spec.share_daemons else [])):
        toolbox = workshop.toolbox(group)
        tools |= {program.name: toolbox.command(program.name) for program in toolbox.group.programs}
        firmware += toolbox.firmware
    guest = workshop.guest(spec)
    store.set_image(machine, guest.id)
    if not machine.paths.data_disk.exists():
        make_sparse(machine.paths.data_disk, spec.disk)
    write_disk(machine.paths, gather(spec, workshop.config, store.home, os.environ))
    grow_sparse(machine.paths.data_disk, spec.disk)  # the guest fits its file system to it
    image = guest.root.parent
    if spec.driver == "uml":  # its command line cannot name every path
        link_to(image, machine.paths.image_link)
        image = machine.paths.image_link
    return LaunchPlan(
        spec=spec,
        boot=BootFiles(
            kernel=guest.kernel or Path(tools["linux.uml"].argv[0]),
            initrd=image / guest.initrd.name,
            root=image / guest.root.name,
            data=machine.paths.data_disk,
            settings=machine.paths.settings,
            cmdline=guest.cmdline,
        ),
        tools=tools,
        firmware=tuple(firmware),
        memory_dir=choose_memory_place(host_facts(os.environ), spec.memory, machine.paths.vm_dir),
        host_cpu=choose_host_cpu(spec.driver),
        hidden=hidden_folders(spec.shares, store.home),
        resolv_conf=workshop.config.resolv_conf,
    )


def _take_lock(paths: MachinePaths) -> int:
    """The machine's lock. A supervisor that is just ending gets time to do so."""
    with locked(paths.lock, waiting_for="ending the former run", deadline=_LOCK_DEADLINE):
        pass
    handle = try_lock(paths.lock)
    if handle is None:
        raise ConflictError(f"{paths.name} is being started or deleted by another process")
    return handle


def _launch(paths: MachinePaths, plan: LaunchPlan, lock: int) -> None:
    write_json(paths.launch, plan.to_dict())
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(paths.supervisor_socket))
        paths.supervisor_socket.chmod(0o600)
        listener.listen(64)  # so that we can connect at once; requests wait until it serves
        argv = [sys.executable, "-m", "cove.machine.supervise"]
        arguments = [str(paths.root), str(listener.fileno()), str(lock)]
        detach(
            Command((*argv, *arguments), {"PYTHONUNBUFFERED": "1"}),
            log=paths.supervisor_log,
            pass_fds=[listener.fileno(), lock],
        )
    finally:
        listener.close()


def _follow(paths: MachinePaths, report: Report) -> None:
    """Report the supervisor's events until the machine runs.

    Raises:
        MachineError: it failed, or its supervisor ended without a word.
    """
    client = SupervisorClient(paths.supervisor_socket, paths.name)
    for event in client.events(deadline=_STAGE_DEADLINE):
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
    supervisor = machine.record.processes.get("supervisor")
    try:
        client = SupervisorClient(machine.paths.supervisor_socket, machine.name)
        client.call("POST", "/v1/stop", {"deadline": 0}, deadline=_ABANDON_DEADLINE)
    except MachineError:
        if supervisor is not None:
            supervisor.signal_group(signal.SIGKILL)  # its children end with it
    if supervisor is not None:
        supervisor.wait_gone(_ABANDON_DEADLINE)


def _clear_dead(paths: MachinePaths) -> None:
    try:
        # a process that is just being started may hold a copy of the dead one's lock for a moment
        with locked(paths.lock, waiting_for=f"starting {paths.name}", deadline=_CLEAR_DEADLINE):
            clear_leftovers(paths)
    except DeadlineError:
        return  # someone starts it right now, and clears it first
