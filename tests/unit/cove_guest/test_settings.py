# SPDX-License-Identifier: Apache-2.0
"""New settings for a dockerd that is a script: it refuses what contains "bad"."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cove_guest.engine import Engine
from cove_guest.settings import configure, join
from cove_guest.wire import RefusedError
from tests.unit.cove_guest.agents import UnixServer

IMAGE = '{\n  "mtu": 9000,\n  "debug": false\n}\n'
CHECKER = '#!/bin/sh\ngrep -q bad "$3" || exit 0\necho "it is bad" >&2\nexit 1\n'
WAITER = "import signal, sys; print(flush=True); print(signal.sigwait([signal.SIGHUP, signal.SIGTERM]))"


class Guest:
    def __init__(self, folder: Path) -> None:
        self.run = folder
        self.image = folder / "image.json"
        self.image.write_text(IMAGE)
        self.checker = folder / "dockerd"
        self.checker.write_text(CHECKER)
        self.checker.chmod(0o755)
        script = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [1, 15]); {WAITER}"
        self.engine = UnixServer(folder / "docker.sock", self.events)
        self.told = 0
        self.dockerd = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert self.dockerd.stdout is not None
        self.dockerd.stdout.readline()
        (folder / "dockerd.pid").write_text(f"{self.dockerd.pid}\n")

    def events(self, connection: socket.socket) -> None:
        """What dockerd answers: its head at once, the event later, and then nothing until it is left."""
        assert connection.recv(65536).startswith(b"GET /events?since=")
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        time.sleep(0.05)
        self.told += 1  # before it is, so that whoever heard of it finds it counted
        connection.sendall(b'{"Type":"daemon","Action":"reload"}\n')
        connection.recv(1)

    def configure(self, files: dict[str, str], *, restart: bool = False) -> dict[str, object]:
        return configure(
            str(self.run),
            Engine(str(self.run / "docker.sock")),
            files,
            restart=restart,
            image=str(self.image),
            dockerd=str(self.checker),
        )

    def daemon_json(self) -> object:
        return json.loads((self.run / "daemon.json").read_text())

    def signal(self) -> int:
        """What dockerd was sent."""
        found, _ = self.dockerd.communicate(timeout=20)
        return int(getattr(signal, found.strip().removeprefix("Signals.").split(".")[-1], 0) or found)


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    made = Guest(tmp_path)
    yield made
    made.engine.close()
    made.dockerd.kill()
    made.dockerd.wait()
    if made.dockerd.stdout is not None:
        made.dockerd.stdout.close()


def test_two_objects_in_one_text() -> None:
    assert json.loads(join(IMAGE, '{"debug": true, "labels": ["}"]}')) == {
        "mtu": 9000, "debug": True, "labels": ["}"],
    }  # fmt: skip
    assert json.loads(join(IMAGE, "")) == json.loads(join(IMAGE, "{}")) == json.loads(IMAGE)
    assert json.loads(join("{}", '{"a": 1}')) == json.loads(join("", '{"a": 1}')) == {"a": 1}


def script_of_the_start(folder: Path) -> str:
    """What joins the settings when dockerd starts, with its files in ``folder``."""
    text = (Path(__file__).parents[3] / "src/cove_guest/rootfs/usr/lib/cove/service").read_text()
    function = text[text.index("join_settings() {") : text.index("case $name in")]
    return function.replace("/etc/docker", str(folder)).replace("/run/cove", str(folder / "run"))


def test_the_script_of_the_start_makes_the_same(tmp_path: Path) -> None:
    function = script_of_the_start(tmp_path)
    (tmp_path / "run/settings").mkdir(parents=True)
    (tmp_path / "daemon.json").write_text(IMAGE)
    for more in ('{"debug": true,\n "labels": ["}", "$HOME \\\\n %s"]}', "{}", ""):
        (tmp_path / "run/settings/daemon.json").write_text(more)
        subprocess.run(["sh", "-c", f"count=0\n{function}\njoin_settings"], check=True)
        found = tmp_path / "run/daemon.json"
        assert json.loads(found.read_text()) == json.loads(join(IMAGE, more))
        assert found.stat().st_mode & 0o777 == 0o600


def test_bridges_that_users_make_carry_large_packets_too(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "daemon.json").write_text('{"debug": false}\n')
    (tmp_path / "run/mtu").write_text("60000\n")
    subprocess.run(["sh", "-c", f"count=0\n{script_of_the_start(tmp_path)}\njoin_settings"], check=True)
    assert json.loads((tmp_path / "run/daemon.json").read_text()) == {
        "debug": False,
        "mtu": 60000,
        "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "60000"}},
    }


def test_registries_count_at_once(guest: Guest) -> None:
    files = {"daemon.json": '{"insecure-registries": ["a:1"]}', "certs.d/a:1/ca.crt": "\xffx"}
    assert guest.configure(files) == {"changed": ["certs.d/a:1/ca.crt", "daemon.json"], "restart": []}
    assert guest.daemon_json() == {"mtu": 9000, "debug": False, "insecure-registries": ["a:1"]}
    assert (guest.run / "settings/certs.d/a:1/ca.crt").read_bytes() == b"\xffx"
    assert (guest.run / "settings").stat().st_mode & 0o777 == 0o700
    assert (guest.run / "daemon.json").stat().st_mode & 0o777 == 0o600
    assert guest.told == 1
    assert guest.signal() == signal.SIGHUP


def test_what_waits_for_the_next_start_is_told(guest: Guest) -> None:
    files = {"daemon.json": '{"proxies": {"http-proxy": "x"}, "debug": true}', "ca/host.crt": "x"}
    assert guest.configure(files)["restart"] == ["proxies", "authorities"]
    assert guest.signal() == signal.SIGHUP


def test_or_dockerd_is_started_again(guest: Guest) -> None:
    assert guest.configure({"ca/host.crt": "x"}, restart=True)["restart"] == []
    assert guest.told == 0
    assert guest.signal() == signal.SIGTERM


def test_the_same_again_changes_nothing(guest: Guest) -> None:
    guest.configure({"daemon.json": '{"debug": true}'})
    assert guest.signal() == signal.SIGHUP
    assert guest.configure({"daemon.json": '{"debug": true}'}) == {"changed": [], "restart": []}


def test_files_that_are_not_named_go(guest: Guest) -> None:
    guest.configure({"ca/host.crt": "x", "certs.d/a/ca.crt": "y"})
    assert guest.configure({"ca/host.crt": "x"})["changed"] == ["certs.d/a/ca.crt"]
    assert [path.name for path in (guest.run / "settings").iterdir()] == ["ca"]


def test_what_dockerd_does_not_want_changes_nothing(guest: Guest) -> None:
    guest.configure({"daemon.json": '{"debug": true}'})
    with pytest.raises(RefusedError, match="it is bad") as caught:
        guest.configure({"daemon.json": '{"bad": true}'})
    assert caught.value.code == "invalid"
    assert guest.daemon_json() == {"mtu": 9000, "debug": True}
    assert (guest.run / "settings/daemon.json").read_text() == '{"debug": true}'
    assert not (guest.run / "daemon.json.new").exists()


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x"])
def test_paths_that_lead_elsewhere_are_refused(guest: Guest, name: str) -> None:
    with pytest.raises(RefusedError, match="no path below"):
        guest.configure({name: "x"})
    assert not (guest.run / "settings").exists()


def test_dockerd_that_is_not_there_reads_them_at_its_start(guest: Guest) -> None:
    guest.dockerd.send_signal(signal.SIGTERM)
    assert guest.signal() == signal.SIGTERM
    (guest.run / "dockerd.pid").write_text(f"{os.getpid() + (1 << 22)}\n")
    assert guest.configure({"daemon.json": '{"debug": true}'})["changed"] == ["daemon.json"]


def test_an_engine_that_ends_instead_is_told(guest: Guest) -> None:
    guest.engine.close()
    (guest.run / "docker.sock").unlink()
    guest.engine = UnixServer(guest.run / "docker.sock", lambda connection: connection.recv(65536) and None)
    with pytest.raises(RefusedError, match="told no event") as caught:
        guest.configure({"daemon.json": '{"debug": true}'})
    assert caught.value.code == "engine"
