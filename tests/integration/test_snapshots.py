# SPDX-License-Identifier: Apache-2.0
"""Snapshots of real machines: with memory under qemu, of the disk under uml, both while the machine runs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from tests.integration.test_suspend import COUNT, lines, status
from tests.integration.world import BUSYBOX, COVE, Home, Machine, talk, wait_until


@pytest.fixture(scope="module")
def home(module_home: Home) -> Home:
    return module_home


@pytest.fixture(scope="module")
def machine(home: Home) -> Machine:
    home.cove("create", "q", "--driver", "qemu", "--accel", "tcg", "--cpus", "1", "--mount-none", "--start",
              deadline=300)  # fmt: skip
    made = home.machine("q")
    made.run("-d", "--name", "count", BUSYBOX, "sh", "-c", COUNT)
    return made


def put(machine: Machine, text: str) -> None:
    machine.sh(f"echo {text} > /v/f; sync", "-v", "vol:/v")


def got(machine: Machine) -> str:
    return machine.sh("cat /v/f", "-v", "vol:/v").strip()


def test_running_machine_goes_back_with_its_containers(home: Home, machine: Machine) -> None:
    put(machine, "one")
    boot = machine.boot_id()
    assert home.cove("snapshot", "save", "q", "one").stdout == b"one\n"
    assert status(machine) == "running"
    assert machine.boot_id() == boot
    counted = len(lines(machine, "count"))
    put(machine, "two")
    home.cove("-m", "q", "snapshot", "save", "two")
    machine.docker("rm", "-f", "count")
    put(machine, "three")
    home.cove("snapshot", "restore", "q", "one")
    assert status(machine) == "running"
    assert machine.boot_id() == boot
    assert got(machine) == "one"
    # what was removed is there again, and goes on
    wait_until(lambda: len(lines(machine, "count")) > counted, "the counter to go on")
    assert abs(lines(machine, "count")[-1][1] - time.time()) < 15
    home.cove("snapshot", "restore", "q", "two")
    assert got(machine) == "two"
    listed = home.json("snapshot", "list", "q")
    assert [(one["name"], one["parent"], one["memory"]) for one in listed] == [
        ("one", None, True), ("two", "one", True),
    ]  # fmt: skip
    home.cove("snapshot", "delete", "q", "one")
    assert [one["name"] for one in home.json("snapshot", "list", "q")] == ["two"]
    home.cove("snapshot", "restore", "q", "two")
    assert got(machine) == "two"
    assert "q has no snapshot 'one'" in talk(home.cove("snapshot", "restore", "q", "one", code=1))


@pytest.mark.parametrize("what", ["save", "restore"])
@pytest.mark.parametrize("after", [0.4, 1.0, 2.0, 3.0])
def test_kill_of_qemu_snapshots_at_any_moment(home: Home, machine: Machine, what: str, after: float) -> None:
    """Command, supervisor and all are killed; the machine starts and has the one contents or the other."""
    machine.start(deadline=300)
    name = f"kill-{what}-{after}"
    put(machine, "saved")
    if what == "restore":
        home.cove("snapshot", "save", "q", name)
        put(machine, "present")
    allowed = {"saved"} if what == "save" else {"saved", "present"}
    with subprocess.Popen([COVE, "snapshot", what, "q", name], env=home.environment, stderr=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL) as asking:  # fmt: skip
        time.sleep(after)
        asking.kill()
        for pid in machine.processes().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    machine.start(deadline=300)
    assert got(machine) in allowed
    for one in home.json("snapshot", "list", "q"):
        home.cove("snapshot", "delete", "q", one["name"])
    left = {path.name for path in (home.root / "m/q").iterdir()}
    assert not {"restored", ".restoring"} & left


def test_uml_machine_goes_back_with_its_disk(home: Home) -> None:
    home.cove("create", "u", "--driver", "uml", "--mount-none", "--start", deadline=300)
    machine = home.machine("u")
    put(machine, "one")
    boot = machine.boot_id()
    home.cove("snapshot", "save", "u", "one")
    assert machine.boot_id() == boot  # it was not even stopped
    put(machine, "two")
    home.cove("snapshot", "restore", "u", "one", deadline=300)
    assert status(machine) == "running"
    assert machine.boot_id() != boot
    assert got(machine) == "one"
    (listed,) = home.json("snapshot", "list", "u")
    assert (listed["name"], listed["memory"]) == ("one", False)
