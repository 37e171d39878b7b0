# SPDX-License-Identifier: Apache-2.0
"""What a killed run leaves behind, with real processes in its place."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cove.errors import MachineError
from cove.machine.leftovers import clear_leftovers
from cove.machine.memory import MemoryFolder, trial_folder
from cove.machine.state import State
from cove.machine.store import StateRecord, Store, observe, read_state, write_state
from cove.system.files import write_json
from cove.system.paths import MachinePaths
from cove.system.process import Identity
from tests.unit.machine.world import SPEC


@pytest.fixture
def paths(store: Store) -> MachinePaths:
    return store.create(SPEC).paths


@pytest.fixture
def left() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield child
    child.kill()
    child.wait()


def identity_of(child: subprocess.Popen[bytes]) -> Identity:
    found = Identity.of(child.pid)
    assert found is not None
    return found


def record(state: State, **processes: Identity) -> StateRecord:
    return StateRecord(state=state, reason="old", processes=processes, stages=(("link", 1.0),), since=1.0)


def test_processes_end_and_the_failure_is_recorded(
    paths: MachinePaths, left: subprocess.Popen[bytes]
) -> None:
    write_state(paths, record(State.RUNNING, supervisor=Identity(2**22 + 1, "1"), vmm=identity_of(left)))
    clear_leftovers(paths)
    assert left.wait(10) == -9
    now = read_state(paths)
    assert (now.state, now.processes, now.stages) == (State.FAILED, {}, (("link", 1.0),))
    assert now.reason == "the supervisor died while the machine was running"


def test_a_pid_that_was_given_to_another_is_left_alone(
    paths: MachinePaths, left: subprocess.Popen[bytes]
) -> None:
    real = identity_of(left)
    write_state(paths, record(State.RUNNING, vmm=Identity(real.pid, str(int(real.started) + 1))))
    clear_leftovers(paths)
    assert left.poll() is None
    assert read_state(paths).state is State.FAILED


@pytest.mark.parametrize("state", [State.CREATED, State.STOPPED, State.FAILED])
def test_an_end_that_was_said_stays_said(
    paths: MachinePaths, left: subprocess.Popen[bytes], state: State
) -> None:
    write_state(paths, record(state, vmm=identity_of(left)))
    clear_leftovers(paths)
    assert left.wait(10) == -9
    assert read_state(paths).reason == "old"


def test_sockets_go_and_everything_else_stays(paths: MachinePaths) -> None:
    paths.data_disk.write_text("data")
    paths.console_log.write_text("log")
    for path in paths.sockets:
        path.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
    clear_leftovers(paths)
    assert not any(path.exists() for path in paths.sockets)
    assert (paths.data_disk.read_text(), paths.console_log.read_text()) == ("data", "log")
    clear_leftovers(paths)


def test_a_process_that_cannot_be_ended_is_named(
    paths: MachinePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    monkeypatch.setattr(os, "killpg", lambda _pid, _number: None)  # as if it were stuck in the kernel
    write_state(paths, record(State.RUNNING, vmm=me))
    with pytest.raises(MachineError, match=rf"the vmm of a former run \(pid {me.pid}\) cannot be ended"):
        clear_leftovers(paths, deadline=0.05)
    assert read_state(paths).state is State.RUNNING


@pytest.mark.parametrize("state", [State.SUSPENDING, State.RESUMING])
def test_guest_that_was_whole_on_the_disk_is_not_lost(paths: MachinePaths, state: State) -> None:
    write_state(paths, record(state, supervisor=Identity(2**22 + 1, "1")))
    assert observe(paths).state is State.FAILED
    paths.saved.mkdir()
    paths.saved_record.write_text("{}")
    assert observe(paths).state is State.SUSPENDED
    clear_leftovers(paths)
    now = read_state(paths)
    assert (now.state, now.processes) == (State.SUSPENDED, {})
    assert paths.saved_record.exists()


def test_half_written_guests_and_memory_are_removed(paths: MachinePaths, tmp_path: Path) -> None:
    write_json(paths.launch, {"memory_dir": str(tmp_path)})
    memory = MemoryFolder(tmp_path, paths.root)
    memory.make_file(1 << 20)
    trial = MemoryFolder(tmp_path, trial_folder(paths))
    other = MemoryFolder(tmp_path, paths.root / "x")
    (paths.root / ".saved.half").mkdir()
    clear_leftovers(paths)
    assert not memory.path.exists()
    assert not trial.path.exists()
    assert other.path.exists()
    assert not (paths.root / ".saved.half").exists()


def test_hidden_memory_is_still_ours(tmp_path: Path) -> None:
    memory = MemoryFolder(tmp_path, tmp_path / "m")
    memory.make_file(1 << 20).write_bytes(b"guest")
    hidden = memory.hide_file()
    assert list(memory.path.iterdir()) == []
    assert hidden.read_bytes() == b"guest"
    memory.remove()
    assert not hidden.exists()
