# SPDX-License-Identifier: Apache-2.0
"""Gather how each machine is: from its folder, and from what runs of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from cove.errors import CoveError
from cove.guest.client import GuestClient
from cove.host.engine import Engine
from cove.machine.client import SupervisorClient
from cove.machine.clock import offset
from cove.machine.disks import data_disk
from cove.machine.doctor.facts import Alive, MachineState
from cove.machine.store import Machine, Store, read_state
from cove.system.paths import MachinePaths

_DEADLINE = 3.0
_AT_ONCE = 8


def machine_states(store: Store) -> tuple[MachineState, ...]:
    """How all machines are, and what is left of those that are none any more."""
    try:
        folders = sorted(path for path in store.home.machines.iterdir() if path.is_dir())
    except OSError:
        return ()
    with ThreadPoolExecutor(_AT_ONCE) as threads:  # each waits for answers
        found = threads.map(partial(_state, store), folders)
        return tuple(state for state in found if state is not None)


def _state(store: Store, folder: Path) -> MachineState | None:
    paths = MachinePaths(folder)
    if not paths.spec.is_file():
        remnant = sorted(path.name for path in folder.iterdir())
        return MachineState(name=paths.name, folder=str(folder), remnant=tuple(remnant)) if remnant else None
    leftovers = _leftovers(paths)
    try:
        machine = store.load(paths.name)
    except CoveError as error:
        damage = error.details or "it is not what Cove writes"
        return MachineState(name=paths.name, folder=str(folder), damage=damage, leftovers=leftovers)
    record = machine.record
    return MachineState(
        name=machine.name,
        folder=str(folder),
        spec=machine.spec,
        state=str(record.state),
        reason=record.reason,
        leftovers=leftovers,
        started=bool(machine.image) and record.state != "created",
        has_disk=data_disk(paths).exists(),
        shares_missing=tuple(share.path for share in machine.spec.shares if not Path(share.path).is_dir()),
        ports=record.ports,
        alive=_alive(machine) if machine.running else None,
        log=str(paths.supervisor_log),
    )


def _leftovers(paths: MachinePaths) -> tuple[str, ...]:
    """Processes that still live while the supervisor does not, as ``gvproxy 4711``."""
    processes = read_state(paths).processes
    supervisor = processes.get("supervisor")
    if supervisor is not None and supervisor.alive():
        return ()
    return tuple(f"{role} {process.pid}" for role, process in processes.items() if process.alive())


def _alive(machine: Machine) -> Alive:
    paths = machine.paths
    agent = GuestClient(paths.agent_socket, deadline=_DEADLINE)
    supervisor = SupervisorClient(paths.supervisor_socket, machine.name)
    disk: dict[str, int] = {}
    ahead = 0.0

    def ask_agent() -> None:
        nonlocal ahead
        disk.update(agent.call("info")["disk"])
        ahead = offset(agent)[0]

    agent_trouble = _trouble(ask_agent)
    return Alive(
        supervisor=_trouble(lambda: supervisor.call("GET", "/v1/status", deadline=_DEADLINE)),
        agent=agent_trouble,
        engine=_trouble(lambda: Engine(paths.docker_socket, deadline=_DEADLINE).get("/version")),
        clock=None if agent_trouble else ahead,
        disk_used=disk["used"] / disk["total"] if disk.get("total") else None,
    )


def _trouble(ask: Callable[[], object]) -> str:
    """Why it does not answer; "" if it does."""
    try:
        ask()
    except CoveError as error:
        return error.message
    except (LookupError, TypeError, ValueError) as error:  # it answers, but in no way that we know
        return f"it answers something else: {error!r}"
    return ""
