# SPDX-License-Identifier: Apache-2.0
"""Names that containers ask for: docker's own for the host, and those that the host's resolver knows at that moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cove.host.names.resolver import RESOLV_CONF
from cove.system.hide import stand_in
from tests.integration.world import BUSYBOX, Home, Machine
from tests.unit.host.names.server import NameServer, name_server
from tests.unit.system.test_hide import can_hide

HOST = "192.168.127.254"

COMPOSE = f"""
services:
  asker:
    image: {BUSYBOX}
    command: [wget, -q, -O, "-", "http://host.docker.internal:%d/"]
"""


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A web server on the host's loopback alone."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@contextmanager
def serving(names: Mapping[str, str | None]) -> Iterator[NameServer]:
    """A name server on the loopback, in a thread of its own."""
    server = NameServer(names)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        async with name_server(server):
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


def addresses(machine: Machine, name: str, *options: str) -> list[str]:
    """What busybox's nslookup finds in a container; the first address it prints is the server's."""
    lines = machine.sh(f"nslookup -type=a {name} 2>&1; true", *options).splitlines()
    return [line.split()[-1] for line in lines[2:] if line.startswith("Address")]


@pytest.mark.parametrize("name", ["host.docker.internal", "gateway.docker.internal"])
@pytest.mark.parametrize("network", ["bridge", "host", "own"])
def test_the_host_has_a_name_everywhere(machine: Machine, port: int, name: str, network: str) -> None:
    if network == "own":
        machine.docker("network", "create", "own")
    try:
        assert machine.sh(f"wget -q -O - http://{name}:{port}/", "--network", network) == "hello\n"
    finally:
        if network == "own":
            machine.docker("network", "rm", "own")


def test_and_in_compose(machine: Machine, port: int, tmp_path: Path) -> None:
    machine.docker("pull", BUSYBOX)
    file = tmp_path / "compose.yml"
    file.write_text(COMPOSE % port)
    try:
        done = machine.docker("compose", "-f", file, "run", "--rm", "asker")
        assert done.stdout == b"hello\n"
    finally:
        machine.docker("compose", "-f", file, "down")


def test_and_where_it_is_named_as_on_linux(uml: Machine, port: int) -> None:
    """With what compose files for Linux contain: it must lead to the host, and not to the guest."""
    assert (
        uml.sh(
            f"wget -q -O - http://host.docker.internal:{port}/",
            "--add-host",
            "host.docker.internal:host-gateway",
        )
        == "hello\n"
    )


def test_the_guest_itself_knows_it(uml: Machine) -> None:
    assert HOST in uml.shell("nslookup", "host.docker.internal").stdout.decode()


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resolver") / "resolv.conf"


@pytest.fixture
def own(make_home: Callable[..., Home], conf: Path) -> Machine:
    """A machine whose host asks as the test says."""
    home = make_home()
    (home.root / "config.yml").write_text(f"resolv_conf: {conf}\n")
    home.cove("create", "--driver", "uml", "--memory", "512M")
    return home.machine()


def test_a_changed_resolver_counts_at_once(own: Machine, conf: Path) -> None:
    """Also for containers that run already. Nothing is restarted."""
    with (
        serving({"a.example": "10.0.0.1"}) as office,
        serving({"a.example": "10.0.0.2", "b.corp": "10.0.0.3"}) as vpn,
    ):
        conf.write_text(f"nameserver 127.0.0.1\nport {office.port}\n")
        own.start()
        own.docker("network", "create", "own")
        for name, network in (("plain", "bridge"), ("embedded", "own")):
            own.run("-d", "--name", name, "--network", network, BUSYBOX, "sleep", "3600")

        def ask(container: str, name: str) -> str:
            return own.docker("exec", container, "nslookup", name, code=None).stdout.decode()

        processes = own.processes()
        for container in ("plain", "embedded"):
            assert "10.0.0.1" in ask(container, "a.example")
            assert "NXDOMAIN" in ask(container, "b.corp")
        new = conf.with_suffix(".new")
        new.write_text(f"nameserver 127.0.0.1\nport {vpn.port}\nsearch corp\n")
        new.replace(conf)
        for container in ("plain", "embedded"):
            assert "10.0.0.2" in ask(container, "a.example")
            assert "10.0.0.3" in ask(container, "b.corp")
        assert own.processes() == processes
        # short names, for containers that start from now on
        assert "search corp" in own.sh("cat /etc/resolv.conf")
        assert "10.0.0.3" in own.sh("ping -c 1 -W 1 b 2>&1; true")


def test_a_host_without_any_name_server(make_home: Callable[..., Home], port: int, tmp_path: Path) -> None:
    """A notebook away from all networks: nothing but comments in resolv.conf."""
    if not can_hide():
        pytest.skip("this host lets us have no mount namespace")
    (tmp_path / "empty").write_text("# by NetworkManager\n")
    home = make_home()
    home.cove("create", "--driver", "uml", "--memory", "512M")
    with home.begun("start", preexec_fn=lambda: stand_in({RESOLV_CONF: tmp_path / "empty"})) as child:
        _, said = child.communicate(timeout=180)
        assert child.returncode == 0, said.decode()
    machine = home.machine()
    assert machine.sh(f"wget -q -O - http://host.docker.internal:{port}/") == "hello\n"
    assert "10.0.0" not in machine.sh("nslookup -type=a a.example 2>&1; true")


def test_many_at_once(own: Machine, conf: Path) -> None:
    names = {f"n{number}.example": f"10.1.0.{number}" for number in range(1, 101)}
    with serving(names) as server:
        conf.write_text(f"nameserver 127.0.0.1\nport {server.port}\n")
        own.start()
        script = (
            "for n in $(seq 1 100); do nslookup -type=a n$n.example > /tmp/$n 2>&1 & done; wait; cat /tmp/*"
        )
        found = own.sh(script)
        assert {line.split()[-1] for line in found.splitlines() if line.startswith("Address: 10.")} == set(
            names.values()
        )
