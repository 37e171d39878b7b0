# SPDX-License-Identifier: Apache-2.0
"""``cove doctor`` beside a real machine that gets into trouble."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

from cove.guest.client import GuestClient
from tests.integration.world import BUSYBOX, Home, alive, wait_until

HOST = {"kvm-absent", "kvm-forbidden", "kvm-unusable", "memory-place", "disk-low", "namespaces-missing"}
"""What the host of the tests may lack."""


def ids(home: Home) -> dict[str, dict[str, Any]]:
    """What the doctor finds of a machine."""
    found = home.json("doctor")["findings"]
    return {one["id"]: one for one in found if one["id"] not in HOST}


def test_a_machine_in_trouble(home: Home) -> None:
    home.cove("create", "--driver", "uml", "--mount-none", "--start")
    machine = home.machine()
    assert ids(home) == {}
    assert home.cove("doctor").returncode == 0

    # what is not set right at once: the machine's supervisor is stopped, and answers nobody
    supervisor = machine.processes()["supervisor"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        GuestClient(home.root / "m/default/net/agent.sock").call("clock", seconds=time.time() - 3600)
        found = ids(home)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert set(found) == {"supervisor-silent", "engine-silent", "guest-clock"}
    assert "3600" in found["guest-clock"]["what"]
    home.cove("doctor", code=None)
    wait_until(lambda: ids(home) == {}, "its recovery", deadline=30)

    # a port that another program took while the machine was stopped
    with socket.create_server(("", 0)) as probe:
        port = probe.getsockname()[1]
    server = ["httpd", "-f", "-h", "/etc"]
    machine.run("-d", "--name", "web", "--restart", "always", "-p", f"{port}:80", BUSYBOX, *server)
    home.cove("stop")
    with socket.create_server(("", port)):
        home.cove("start")
        found = ids(home)
        assert set(found) == {"port-taken"}
        assert found["port-taken"]["fix"].endswith("cove -m default docker restart web")
        home.cove("doctor", code=1)
    # its fix mends it
    machine.docker("restart", "-t", "0", "web")
    assert ids(home) == {}

    os.kill(machine.processes()["supervisor"], signal.SIGKILL)
    wait_until(lambda: not any(map(alive, machine.processes().values())), "the end of its processes")
    assert set(ids(home)) == {"machine-failed"}
    home.cove("start")
    assert ids(home) == {}
