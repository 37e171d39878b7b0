# SPDX-License-Identifier: Apache-2.0
"""What happens when parts die: the machine says so, the next start recovers, synced data is there."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.integration.world import BUSYBOX, Home, Machine, alive, talk, wait_until

VOLUME = ("-v", "kept:/data")


def failed(machine: Machine) -> dict[str, Any]:
    """Wait until the machine says that it failed; returns what it says."""

    def look() -> dict[str, Any] | None:
        found = machine.inspect()
        return found if found["status"] == "failed" else None

    return wait_until(look, f"{machine.name} to say that it failed")


DEATHS = {"vmm": "died", "gvproxy": "gvproxy ended", "supervisor": "the supervisor died"}
"""Each process of a machine, and what is said of its death."""


@pytest.mark.parametrize(("driver", "roles"), [("uml", list(DEATHS)), ("qemu", ["vmm"])], ids=["uml", "qemu"])
def test_each_process_may_be_killed(home: Home, driver: str, roles: list[str]) -> None:
    """One machine, one death after the other; data that was synced survives them all."""
    accel = ["--accel", "tcg"] if driver == "qemu" else []
    home.cove("create", "--driver", driver, *accel, "--start")
    machine = home.machine()
    written = ""
    for role in roles:
        machine.sh(f"echo {role} >> /data/file; sync", *VOLUME)
        written += f"{role}\n"
        pids = machine.processes()
        os.kill(pids[role], signal.SIGKILL)
        found = failed(machine)
        assert DEATHS[role] in found["reason"]
        wait_until(lambda: not list(filter(alive, pids.values())), "the end of all its processes")  # noqa: B023
        said = home.cove("status", code=1)
        assert said.stdout.startswith(b"default is failed: "), said.stdout
        assert "failed" in talk(home.cove("explain", code=1))
        home.cove("start")
        assert machine.sh("cat /data/file", *VOLUME) == written
        assert not set(pids.values()) & set(machine.processes().values())


def test_run_recovers_by_itself(home: Home) -> None:
    home.cove("start")
    os.kill(home.machine().processes()["supervisor"], signal.SIGKILL)
    assert home.cove("run", "--rm", BUSYBOX, "echo", "again").stdout == b"again\n"
    # and an engine that cannot start says why, and nobody waits until the stage's deadline for it
    database = "/var/lib/docker/network/files/local-kv.db"
    home.cove(
        "shell", "sh", "-c", f"mv {database} {database}.good; head -c 8192 /dev/zero > {database}; sync"
    )
    os.kill(home.machine().processes()["vmm"], signal.SIGKILL)
    failed(home.machine())
    said = talk(home.cove("start", code=1))
    assert "dockerd does not start: " in said
    assert "failed to start daemon" in said


def test_what_is_left_of_a_dead_machine_can_be_stopped_and_deleted(home: Home) -> None:
    home.cove("create", "--driver", "uml", "--start")
    os.kill(home.machine().processes()["supervisor"], signal.SIGKILL)
    assert "is not running" in talk(home.cove("stop"))
    home.cove("delete", "-f")
    assert home.names() == []


def test_a_run_that_is_under_way_ends_with_its_machine(home: Home) -> None:
    home.cove("start")
    with home.begun("run", "--rm", BUSYBOX, "sh", "-c", "echo up; sleep 1000") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        os.kill(home.machine().processes()["vmm"], signal.SIGKILL)
        assert child.wait(60) != 0


@pytest.mark.parametrize("service", ["dockerd", "containerd"])
def test_services_come_back(uml: Machine, service: str) -> None:
    before = uml.shell("cat", f"/run/cove/{service}.pid").stdout
    uml.shell("kill", "-9", before.decode().strip())

    def works() -> bool:
        return uml.run("--rm", BUSYBOX, "true", code=None).returncode == 0

    wait_until(works, f"the engine after {service} died")
    assert uml.shell("cat", f"/run/cove/{service}.pid").stdout != before
    assert uml.inspect()["status"] == "running"


def test_the_agent_comes_back(uml: Machine) -> None:
    """With it come cove shell and the way to the engine."""
    before = uml.shell("cat", "/run/cove/agent.pid").stdout.decode().strip()
    uml.shell("kill", "-9", before, code=None)

    def works() -> bool:
        return uml.shell("true", code=None, deadline=30).returncode == 0

    wait_until(works, "the agent")
    assert uml.shell("cat", "/run/cove/agent.pid").stdout.decode().strip() != before
    assert uml.sh("echo here") == "here\n"


def test_a_kernel_panic_is_told(home: Home) -> None:
    home.cove("create", "--driver", "uml", "--start")
    home.cove("shell", "sh", "-c", "echo c > /proc/sysrq-trigger", code=None, deadline=60)
    found = failed(home.machine())
    assert "died" in found["reason"]
    home.cove("start")


def test_a_foreign_data_disk_is_never_formatted(home: Home) -> None:
    home.cove("create", "--driver", "uml", "--start")
    home.cove("stop")
    disk = home.root / "m/default/data.img"
    with disk.open("r+b") as stream:
        stream.seek(1024)
        stream.write(b"precious" * 512)
    refused = home.cove("start", code=1)
    assert "the data disk" in talk(refused)
    assert "ext4" in talk(refused)
    with disk.open("rb") as stream:
        stream.seek(1024)
        assert stream.read(4096) == b"precious" * 512


def test_a_socket_or_state_file_that_lies_about_does_no_harm(home: Home) -> None:
    home.cove("create", "--driver", "uml")
    (home.root / "m/default/docker.sock").write_text("not a socket")
    home.cove("start")
    home.cove("docker", "version")
