# SPDX-License-Identifier: Apache-2.0
"""Clear what a run that was killed left behind: processes (by pid and start time) and sockets. Never data."""

from __future__ import annotations

import signal
from pathlib import Path

from cove.errors import MachineError
from cove.machine.disks import clear_half_frozen
from cove.machine.memory import sweep_memory, trial_folder
from cove.machine.saved.folder import sweep
from cove.machine.state import ALIVE, State
from cove.machine.store import StateRecord, observe, read_state, write_state
from cove.system.files import read_json
from cove.system.paths import Home, MachinePaths


def clear_leftovers(paths: MachinePaths, *, deadline: float = 10.0) -> None:
    """End the recorded processes of a dead run, remove its sockets, and record the failure.

    Args:
        paths: the machine; the caller holds its lock, so no supervisor is alive by right.
        deadline: seconds each process may take to vanish after SIGKILL.

    Raises:
        MachineError: a process cannot be ended (stuck in the kernel, or not ours).
    """
    record = read_state(paths)
    for role, identity in record.processes.items():
        identity.signal_group(signal.SIGKILL)
        if not identity.wait_gone(deadline):
            raise MachineError(f"the {role} of a former run (pid {identity.pid}) cannot be ended")
    for path in paths.sockets:
        path.unlink(missing_ok=True)
    sweep(paths.saved)
    clear_half_frozen(paths, Home.of(paths))
    place = (read_json(paths.launch) or {}).get("memory_dir")
    if isinstance(place, str):
        for owner in (paths.root, trial_folder(paths)):
            sweep_memory(Path(place), owner)
    if record.state in ALIVE:
        seen = observe(paths)
        state = State.SUSPENDED if seen.state is State.SUSPENDED else State.FAILED
        write_state(paths, StateRecord(state=state, reason=seen.reason, stages=record.stages))
