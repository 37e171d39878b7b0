# SPDX-License-Identifier: Apache-2.0
"""The guest's clock is the host's: from the start, after everything stood still, and under load."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from cove.guest.client import GuestClient
from cove.machine.clock import offset
from tests.integration.world import Machine, wait_until


def guest(machine: Machine) -> GuestClient:
    return GuestClient(machine.home.root / "m" / machine.name / "net" / "agent.sock")


def ahead(machine: Machine) -> float:
    """Seconds that the guest's clock is ahead of ours."""
    return offset(guest(machine))[0]


def set_wrong(machine: Machine) -> None:
    """As after a long sleep of the host, in which the guest's kernel saw no time pass."""
    guest(machine).call("clock", seconds=time.time() - 3600)
    assert ahead(machine) < -3000


def test_right_from_the_start(machine: Machine) -> None:
    wait_until(lambda: abs(ahead(machine)) < 0.1, "the right time", deadline=5)


@pytest.mark.parametrize("role", ["vmm", "supervisor"])
def test_right_again_two_seconds_after_a_stop(machine: Machine, role: str) -> None:
    pid = machine.processes()[role]
    set_wrong(machine)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(15)
    finally:
        os.kill(pid, signal.SIGCONT)
    time.sleep(2)
    assert abs(ahead(machine)) < 0.1


def test_right_again_after_a_stop_of_all_its_processes(machine: Machine) -> None:
    """As ``kill -STOP -PGID`` or ``pkill -STOP`` do, also while processes of the guest run. User-Mode Linux takes
    such a stop of what it traces for a crash, unless the toolbox's guard stands before it."""
    pid = machine.processes()["vmm"]
    boot = machine.boot_id()
    argv = ["timeout", "60", "sh", "-c", "while :; do :; done"]
    with machine.home.begun("-m", machine.name, "shell", *argv):
        for seconds in (0.2, 0.2, 0.2, 15):
            os.killpg(pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.killpg(pid, signal.SIGCONT)
            time.sleep(0.3)
        time.sleep(2)
        assert abs(ahead(machine)) < 0.1
    assert machine.boot_id() == boot
    machine.shell("pkill", "-f", "while :", code=None)


def test_hardly_any_drift_under_load(machine: Machine) -> None:
    wait_until(lambda: abs(ahead(machine)) < 0.05, "the right time", deadline=5)
    argv = ["sh", "-c", "timeout 20 sh -c 'while :; do :; done'; true"]
    load = threading.Thread(target=guest(machine).exec, args=(argv,), kwargs={"deadline": 60})
    load.start()
    found = []
    while load.is_alive():
        found.append(ahead(machine))
        load.join(2)
    assert max(map(abs, found)) < 0.1, found
