# SPDX-License-Identifier: Apache-2.0
"""Names and ways out of containers, through gvproxy."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.world import BUSYBOX, Machine

HOST = "192.168.127.254"
"""The host's loopback, as gvproxy shows it to the guest."""

BODY = os.urandom(50_000_000)


class Server(ThreadingHTTPServer):
    """On the host's loopback: gives BODY, and takes what is put."""

    daemon_threads = True
    taken = b""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_POST(self) -> None:
        self.server.taken = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.mark.parametrize("network", ["bridge", "host"])
def test_fifty_megabytes_arrive_whole(machine: Machine, server: Server, network: str) -> None:
    found = machine.sh(f"wget -q -O - {server.url} | sha256sum", "--network", network)
    assert found.split()[0] == hashlib.sha256(BODY).hexdigest()


def test_what_a_container_sends_arrives_whole(uml: Machine, server: Server) -> None:
    # busybox's wget posts text only
    script = f"""
        dd if=/dev/urandom of=/f bs=1M count=20 2>/dev/null
        (printf 'POST / HTTP/1.0\\r\\nContent-Length: {20 << 20}\\r\\n\\r\\n'; cat /f) |
            nc {HOST} {server.server_port} >&2
        sha256sum /f
    """
    found = uml.sh(script)
    assert len(server.taken) == 20 << 20
    assert found.split()[0] == hashlib.sha256(server.taken).hexdigest()


HURRY = """
import socket, sys
for number in range(700):
    with socket.create_connection(("192.168.127.254", int(sys.argv[1])), 20) as connection:
        while connection.recv(100):
            pass
print("all")
"""


def test_many_short_connections_in_a_row(uml: Machine) -> None:
    """gvproxy remembers each for a minute: a port that is used again in that time would hang."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    with listener.accept()[0] as client:
                        client.sendall(b"short")
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            found = uml.shell("python3", "-c", HURRY, str(listener.getsockname()[1])).stdout
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
    assert found == b"all\n"


def test_frames_are_large_everywhere(machine: Machine) -> None:
    expected = {"uml": "60000", "qemu": "9000"}[machine.name]
    script = "cat /sys/class/net/eth0/mtu /sys/class/net/docker0/mtu; nsenter --net=/run/cove/wire ip -o link"
    said = machine.shell("sh", "-c", script).stdout.decode().split()
    assert said[:2] == [expected] * 2
    assert said.count(expected) == 4  # wire and router
    assert machine.sh("cat /sys/class/net/eth0/mtu") == f"{expected}\n"
    machine.docker("network", "create", "large")
    try:
        assert machine.sh("cat /sys/class/net/eth0/mtu", "--network", "large") == f"{expected}\n"
    finally:
        machine.docker("network", "rm", "large")


def test_names_resolve(machine: Machine) -> None:
    """A name that gvproxy itself knows, so that no name server of the outside is needed."""
    assert HOST in machine.sh("nslookup host.containers.internal 2>&1")
    assert HOST in machine.shell("nslookup", "host.containers.internal").stdout.decode()


def test_names_of_the_outside_resolve(uml: Machine) -> None:
    """The mirror that everything came from, which surely resolves here."""
    sources = uml.run(
        "--rm", "cove.internal/debian", "cat", "/etc/apt/sources.list.d/debian.sources", deadline=600
    )
    url = next(line.split()[1] for line in sources.stdout.decode().splitlines() if line.startswith("URIs:"))
    name = url.split("/")[2].partition(":")[0]
    found = uml.sh(f"nslookup {name} 2>&1")
    assert "Address" in found.partition("Name:")[2], found


def test_a_published_port_answers_inside_the_guest(uml: Machine) -> None:
    uml.run("-d", "--name", "web", "-p", "8090:80", BUSYBOX, "httpd", "-f", "-p", "80", "-h", "/etc")
    try:
        found = uml.shell("wget", "-q", "-O", "-", "http://192.168.127.2:8090/hostname")
        assert len(found.stdout.strip()) == 12
    finally:
        uml.docker("rm", "-f", "web")


def test_containers_of_one_network_know_each_other(uml: Machine) -> None:
    uml.docker("network", "create", "pair")
    try:
        uml.run("-d", "--name", "peer", "--network", "pair", BUSYBOX, "httpd", "-f", "-p", "80", "-h", "/etc")
        assert len(uml.sh("wget -q -O - http://peer/hostname", "--network", "pair").strip()) == 12
    finally:
        uml.docker("rm", "-f", "peer")
        uml.docker("network", "rm", "pair")


def test_nothing_of_a_machine_listens_on_the_host(machine: Machine) -> None:
    """Neither TCP nor UDP: everything is a unix socket in a private folder."""
    listening = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if table.startswith("udp") or fields[3] == "0A":
                listening.add(f"socket:[{fields[9]}]")
    checked = 0
    for pid in machine.processes().values():
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            checked += 1
            assert str(handle.readlink()) not in listening, f"{machine.name}: {pid}"
    assert checked > 10


def test_sockets_are_for_their_owner_alone(machine: Machine) -> None:
    folder = Path(machine.inspect()["folder"])
    sockets = [path for path in folder.rglob("*") if path.is_socket()]
    assert {"docker.sock", "agent.sock", "cove.sock"} <= {path.name for path in sockets}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o077 == 0
    for path in sockets:
        private = path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0
        assert private, path
