# SPDX-License-Identifier: Apache-2.0
"""Suspend and resume of real machines: what ran goes on, what was broken boots, and nothing is lost.

Tests named after qemu run on request: they boot again and again.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.world import BUSYBOX, COVE, Home, Machine, alive, talk, wait_until

COUNT = "i=0; while :; do i=$((i+1)); echo $i $(date +%s); sleep 1; done"
SERVE = "mkdir -p /w && echo hello > /w/index.html && exec httpd -f -p 80 -h /w"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("share")


@pytest.fixture(scope="module")
def qemu(cache: Path, folder: Path) -> Iterator[Machine]:
    """A machine under emulation with a share, a counter and a web server."""
    home = Home.make(cache)
    try:
        home.cove("create", "s", "--driver", "qemu", "--accel", "tcg", "--cpus", "1", "--mount-none",
                  "--mount", folder, "--start", deadline=300)  # fmt: skip
        machine = home.machine("s")
        machine.run("-d", "--name", "count", BUSYBOX, "sh", "-c", COUNT)
        machine.run("-d", "--name", "web", "-p", "0:80", BUSYBOX, "sh", "-c", SERVE)
        writer = f"exec 3< {folder}/seen; while :; do date +%s >> {folder}/log; sleep 1; done"
        (folder / "seen").write_text("seen before\n")
        machine.run("-d", "--name", "writer", "-v", f"{folder}:{folder}", BUSYBOX, "sh", "-c", writer)
        yield machine
    finally:
        home.close()


def lines(machine: Machine, container: str) -> list[list[int]]:
    text = machine.docker("logs", container).stdout.decode()
    return [[int(word) for word in line.split()] for line in text.splitlines()]


def port(machine: Machine, container: str) -> int:
    return int(machine.docker("port", container, "80/tcp").stdout.decode().split()[0].rpartition(":")[2])


def fetch(number: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{number}/", timeout=30) as answer:
        return str(answer.read().decode())


def status(machine: Machine) -> str:
    return str(machine.inspect()["status"])


def random_bytes(machine: Machine) -> str:
    return machine.shell("head", "-c", "16", "/dev/urandom").stdout.hex()


def test_containers_ports_clock_and_shares_go_on(qemu: Machine, folder: Path) -> None:
    number = port(qemu, "web")
    assert fetch(number) == "hello\n"
    boot, processes = qemu.boot_id(), qemu.processes()
    count = lines(qemu, "count")
    qemu.home.cove("suspend", "s")
    assert not any(map(alive, processes.values()))
    assert status(qemu) == "suspended"
    assert not Path(qemu.socket.removeprefix("unix://")).exists()
    saved = qemu.home.root / "m/s/saved"
    assert (saved / "memory").stat().st_size == 2 << 30
    assert (saved / "memory").stat().st_blocks * 512 < 1 << 30  # as large as what is used
    assert qemu.home.cove("suspend", "s").returncode == 0  # it is already
    (folder / "seen").write_text("seen again\n")
    written = (folder / "log").read_text()
    time.sleep(2)

    qemu.start()
    assert qemu.boot_id() == boot
    assert fetch(number) == "hello\n"
    now = wait_until(
        lambda: (after := lines(qemu, "count"))[len(count) + 2 :] and after, "the counter to go on"
    )
    assert [n for n, _ in now] == list(range(1, len(now) + 1))  # it is the same process
    assert abs(now[-1][1] - time.time()) < 15  # and sees the time of today
    gaps = [later[1] - earlier[1] for earlier, later in itertools.pairwise(now)]
    assert max(gaps) >= 2
    # the folder is read and written as before, through descriptors that were open too
    wait_until(lambda: len((folder / "log").read_text()) > len(written) + 20, "the writer to go on")
    assert qemu.docker("exec", "writer", "cat", f"{folder}/seen").stdout == b"seen again\n"
    assert qemu.docker("exec", "writer", "sh", "-c", "cat /proc/1/fd/3").stdout == b"seen again\n"


def test_clients_wake_a_machine_that_sleeps(qemu: Machine) -> None:
    """By the engine's socket and by a published port; a client only sees a reply that took a little longer."""
    number, boot = port(qemu, "web"), qemu.boot_id()
    for use in (lambda: qemu.docker("ps", "-q").stdout, lambda: fetch(number)):
        qemu.home.cove("suspend", "--asleep", "s")
        assert status(qemu) == "suspended"
        assert set(qemu.processes()) == {"supervisor"}
        assert [each["port"] for each in qemu.inspect()["ports"]]
        assert use()
        assert status(qemu) == "running"
    assert qemu.boot_id() == boot
    qemu.home.cove("suspend", "--asleep", "s")
    client = (
        subprocess.run(
            ["docker", "-H", qemu.socket, "version"], capture_output=True, check=False, timeout=120
        )
        if shutil.which("docker")
        else None
    )
    assert client is None or client.returncode == 0
    supervisor = qemu.processes()["supervisor"]
    qemu.home.cove("suspend", "--asleep", "s")
    qemu.home.cove("suspend", "s")
    wait_until(lambda: not alive(supervisor), "the supervisor to end")
    qemu.start()


def test_qemu_machine_in_which_nothing_happens_is_suspended(qemu: Machine) -> None:
    for container in ("count", "web", "writer"):
        qemu.docker("stop", "-t", "0", container)
    qemu.home.cove("set", "s", "--idle-suspend", "1")
    wait_until(lambda: status(qemu) == "suspended", "the end of its patience", deadline=200)
    assert qemu.docker("ps", "-q").stdout == b""
    assert status(qemu) == "running"
    qemu.home.cove("set", "s", "--idle-suspend", "0")
    for container in ("count", "web", "writer"):
        qemu.docker("start", container)


def test_qemu_guest_that_goes_on_twice_draws_other_numbers(qemu: Machine) -> None:
    drawn = []
    qemu.home.cove("suspend", "s")
    saved = qemu.home.root / "m/s/saved"
    disk = qemu.home.root / "m/s/data.img"
    kept = qemu.home.root / "kept"
    subprocess.run(["cp", "-a", "--sparse=always", saved, kept], check=True)
    subprocess.run(["cp", "-a", "--sparse=always", disk, qemu.home.root / "kept.img"], check=True)
    for _ in range(2):
        qemu.start()
        drawn.append(random_bytes(qemu))
        # back to where it was
        os.kill(qemu.processes()["supervisor"], signal.SIGKILL)
        wait_until(lambda: status(qemu) == "failed", "the end of the supervisor")
        subprocess.run(["cp", "-a", "--sparse=always", kept, saved], check=True)
        subprocess.run(["cp", "-a", "--sparse=always", qemu.home.root / "kept.img", disk], check=True)
        state = json.loads((qemu.home.root / "m/s/state.json").read_text())
        (qemu.home.root / "m/s/state.json").write_text(
            json.dumps({**state, "state": "suspended", "processes": {}})
        )
    assert drawn[0] != drawn[1]
    qemu.start()


def test_connections_of_qemu_to_the_outside_fail_cleanly(qemu: Machine) -> None:
    """A container that only waits for an answer learns at once that there will be none."""
    import socket
    import threading

    with socket.create_server(("0.0.0.0", 0)) as server:
        taken: list[socket.socket] = []
        threading.Thread(target=lambda: taken.append(server.accept()[0]), daemon=True).start()
        script = f"nc host.docker.internal {server.getsockname()[1]}; echo ended $?"
        gateway = "host.docker.internal:192.168.127.254"
        qemu.run("-d", "--name", "client", "--add-host", gateway, BUSYBOX, "sh", "-c", script)
        wait_until(lambda: taken, "the container to connect")
        qemu.home.cove("suspend", "s")
        qemu.start()
        wait_until(
            lambda: b"ended" in qemu.docker("logs", "client").stdout, "the end of the connection", deadline=60
        )
        taken[0].close()


def test_qemu_guest_that_goes_on_hears_of_new_settings(qemu: Machine) -> None:
    boot = qemu.boot_id()
    qemu.home.cove("suspend", "s")
    config = qemu.home.root / "config.yml"
    config.write_text("insecure_registries: [later.test:5000]\n")
    try:
        qemu.start()
        assert b"later.test:5000" in qemu.docker("info").stdout
        assert qemu.boot_id() == boot
    finally:
        config.unlink()


def test_stop_of_a_suspended_machine_is_orderly_and_cold_boots(qemu: Machine) -> None:
    script = "trap 'echo stopped orderly; exit' TERM; while :; do sleep 1; done"
    qemu.run("-d", "--name", "polite", BUSYBOX, "sh", "-c", script)
    boot = qemu.boot_id()
    qemu.home.cove("suspend", "s")
    qemu.home.cove("stop", "s")
    assert status(qemu) == "stopped"
    assert not (qemu.home.root / "m/s/saved").exists()
    qemu.start(deadline=300)
    assert qemu.boot_id() != boot
    assert b"stopped orderly" in qemu.docker("logs", "polite").stdout


BREAK: dict[str, Callable[[Path], object]] = {
    "devices": lambda folder: (folder / "saved/devices").write_bytes(b"x"),
    "memory": lambda folder: os.truncate(folder / "saved/memory", 4096),
    "record": lambda folder: (folder / "saved/saved.json").write_text("{}"),
    "disk": lambda folder: os.utime(folder / "data.img"),
}


@pytest.mark.parametrize("what", BREAK)
def test_qemu_guest_that_does_not_fit_is_not_forced_and_no_data_is_lost(qemu: Machine, what: str) -> None:
    written = qemu.docker(
        "run", "--rm", "-v", "vol:/v", BUSYBOX, "sh", "-c", f"echo {what} >> /v/f; cat /v/f"
    ).stdout
    boot = qemu.boot_id()
    qemu.home.cove("suspend", "s")
    BREAK[what](qemu.home.root / "m/s")
    said = talk(qemu.start(deadline=300))
    assert "s cannot go on where it was: " in said
    assert qemu.boot_id() != boot
    assert qemu.docker("run", "--rm", "-v", "vol:/v", BUSYBOX, "cat", "/v/f").stdout == written


@pytest.mark.parametrize("after", [0.1, 0.6, 1.2, 2.0])
def test_kill_of_qemu_at_any_moment_of_a_suspension(qemu: Machine, after: float) -> None:
    """The supervisor, the VMM and all is killed; the machine starts, with its data, and warm only if it was whole."""
    mark = f"k{after}"
    qemu.docker("run", "--rm", "-v", "vol:/v", BUSYBOX, "sh", "-c", f"echo {mark} >> /v/k")
    supervisor = qemu.processes()["supervisor"]
    with subprocess.Popen(
        [COVE, "suspend", "s"], env=qemu.home.environment, stderr=subprocess.DEVNULL
    ) as asking:
        time.sleep(after)
        with suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGKILL)
        asking.wait(60)
    assert status(qemu) in ("failed", "suspended")
    qemu.start(deadline=300)
    assert mark in qemu.docker("run", "--rm", "-v", "vol:/v", BUSYBOX, "cat", "/v/k").stdout.decode()
    assert not list((qemu.home.root / "m/s").glob(".saved*"))


def test_files_that_a_container_of_qemu_holds_open_after_their_end_are_named(
    qemu: Machine, folder: Path
) -> None:
    """Nobody could open them again; files that it has only seen are no obstacle."""
    for name in ("held", "read"):
        (folder / name).write_text(f"{name}\n")  # docker logs whole lines
    script = f"exec 4< {folder}/held; cat {folder}/read; while :; do sleep 1; done"
    qemu.run("-d", "--name", "holder", "-v", f"{folder}:{folder}", BUSYBOX, "sh", "-c", script)
    wait_until(lambda: qemu.docker("logs", "holder").stdout == b"read\n", "the container to read")
    for name in ("held", "read"):
        (folder / name).unlink()
    refused = talk(qemu.home.cove("suspend", "s", code=1))
    assert f"{folder}/held" in refused
    assert f"{folder}/read" not in refused
    assert "holder" in refused
    assert status(qemu) == "running"
    assert qemu.docker("exec", "holder", "cat", "/proc/1/fd/4").stdout == b"held\n"
    qemu.docker("rm", "-f", "holder")
    qemu.home.cove("suspend", "s")
    qemu.start()


def test_uml_says_who_can(uml: Machine) -> None:
    refused = uml.home.cove("suspend", uml.name, code=1)
    assert "the driver uml cannot suspend" in talk(refused)
    assert "--driver qemu" in talk(refused)
