# SPDX-License-Identifier: Apache-2.0
"""Published ports: docker's own CLI on one side, ordinary clients of the host on the other. Nothing is retried."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.world import BUSYBOX, Home, Machine, talk, wait_until

WAIT = 60.0


def free(count: int = 1) -> int:
    """The first of ``count`` consecutive ports that nobody uses on any address, TCP or UDP."""
    for first in range(20000 + os.getpid() % 500 * 20, 32000, count):
        held = []
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    held.append(socket.socket(socket.AF_INET, kind))
                    held[-1].bind(("0.0.0.0", port))
        except OSError:
            continue
        finally:
            for each in held:
                each.close()
        return first
    raise AssertionError("no free ports")


def get(port: int, address: str = "127.0.0.1", path: str = "/hostname") -> bytes:
    connection = http.client.HTTPConnection(address, port, timeout=WAIT)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        body = reply.read()
        assert reply.status == 200, body
        return body
    finally:
        connection.close()


def reachable(port: int, address: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((address, port), 10).close()
    except ConnectionRefusedError:
        return False
    return True


def answers(port: int) -> bool:
    """Whether it serves now; for changes of which no command has told us, in the midst of which it may break off."""
    try:
        return bool(get(port))
    except (ConnectionError, http.client.HTTPException):
        return False


def ask(port: int, data: bytes, address: str = "127.0.0.1") -> bytes:
    """Send, end our direction, and read to the end."""
    with socket.create_connection((address, port), WAIT) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


Serve = Callable[..., str]

DEBIAN = "cove.internal/debian"
TCP_ECHO = (  # answers when the client has ended its direction
    "perl", "-MIO::Socket::INET", "-e",
    """$SIG{CHLD} = 'IGNORE'; my $s = IO::Socket::INET->new(Listen => 128, LocalPort => 7);
    while (my $c = $s->accept) { if (fork == 0) { my @l = <$c>; print $c @l; exit } close $c }""",
)  # fmt: skip
UDP_ECHO = (
    "perl", "-MIO::Socket::INET", "-e",
    "my $s = IO::Socket::INET->new(Proto => 'udp', LocalPort => 9); while (1) { $s->recv(my $d, 65536); $s->send($d) }",
)  # fmt: skip


@pytest.fixture
def serve(machine: Machine) -> Iterator[Serve]:
    """Starts containers with the given options; by default a web server of the files in /etc at port 80."""
    yield from server_of(machine)


@pytest.fixture
def on_uml(uml: Machine) -> Iterator[Serve]:
    """The same on User-Mode Linux alone: for what does not depend on the driver, and takes long in an emulation."""
    yield from server_of(uml)


def server_of(machine: Machine) -> Iterator[Serve]:
    names: list[str] = []

    def start(
        *options: str, image: str = BUSYBOX, command: tuple[str, ...] = ("httpd", "-f", "-h", "/etc")
    ) -> str:
        names.append(f"port-test-{len(names)}")
        # an image of Debian is loaded first, which takes minutes in an emulation
        machine.run("-d", "--name", names[-1], *options, image, *command, deadline=600)
        return names[-1]

    yield start
    if names:
        machine.docker("rm", "-f", *names)


def ports_of(machine: Machine, container: str) -> list[tuple[str, str, int, int, str | None]]:
    return sorted(
        (each["protocol"], each["address"], each["port"], each["container_port"], each["error"])
        for each in machine.inspect()["ports"]
        if each["container"] == container
    )


def test_it_answers_as_soon_as_run_returns(machine: Machine, serve: Serve) -> None:
    port = free()
    name = serve("-p", f"{port}:80", "--hostname", "published")
    assert get(port) == b"published\n"
    assert get(port, "::1") == b"published\n"
    assert ports_of(machine, name) == [("tcp", "0.0.0.0", port, 80, None), ("tcp", "::", port, 80, None)]
    machine.docker("stop", "-t", "0", name)
    assert not reachable(port)
    machine.docker("start", name)
    assert get(port) == b"published\n"
    machine.docker("restart", "-t", "0", name)
    assert get(port) == b"published\n"
    machine.docker("rm", "-f", name)
    assert not reachable(port)
    assert ports_of(machine, name) == []


def test_the_address_is_honoured(on_uml: Serve) -> None:
    first = free(3)
    on_uml("-p", f"127.0.0.1:{first}:80", "-p", f"127.0.0.2:{first + 1}:80", "-p", f"[::1]:{first + 2}:80")
    for number, address in enumerate(("127.0.0.1", "127.0.0.2", "::1")):
        for other in ("127.0.0.1", "127.0.0.2", "::1"):
            assert reachable(first + number, other) == (address == other)
        assert get(first + number, address)


def test_all_addresses_means_those_beyond_the_loopback_too(on_uml: Serve) -> None:
    port = free(2)
    on_uml("-p", f"0.0.0.0:{port}:80", "-p", f"127.0.0.1:{port + 1}:80")
    for address in {"127.0.0.1", "127.0.0.3", *own_addresses()}:
        assert get(port, address)
        assert reachable(port + 1, address) == (address == "127.0.0.1")


def own_addresses() -> set[str]:
    """The IPv4 addresses of this host beyond the loopback; none on a host without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(
                ("192.0.2.1", 9)
            )  # sends nothing; the kernel chooses the address it would send from
        except OSError:
            return set()
        return {probe.getsockname()[0]}


def test_a_container_sees_its_bridges_gateway_as_the_client(on_uml: Serve) -> None:
    """The one promise about source addresses, as README.md and DESIGN.md have it."""
    port = free()
    cgi = "mkdir -p /w/cgi-bin; printf '#!/bin/sh\\necho; echo $REMOTE_ADDR' > /w/cgi-bin/who; chmod +x /w/cgi-bin/who"
    on_uml("-p", f"{port}:80", command=("sh", "-c", f"{cgi}; exec httpd -f -h /w"))
    wait_until(lambda: reachable(port), "the server")
    assert get(port, path="/cgi-bin/who") == b"[::ffff:172.17.0.1]\n"


def test_ranges(on_uml: Serve) -> None:
    first = free(3)
    on_uml(
        "-p",
        f"{first}-{first + 2}:80-82",
        command=("sh", "-c", "for p in 80 81 82; do httpd -p $p -h /etc; done; sleep 1000"),
    )
    for port in range(first, first + 3):
        assert get(port)


@pytest.mark.parametrize("port", [1024, 1025])
def test_the_ports_of_mail_catchers_are_free_in_the_guest(uml: Machine, on_uml: Serve, port: int) -> None:
    """The agent once listened there."""
    on_uml("-p", f"127.0.0.1:{free()}:{port}", command=("httpd", "-f", "-p", str(port), "-h", "/etc"))
    on_uml("-p", f"127.0.0.1:{port}:80")
    assert len(get(port).strip()) == 12


def test_one_of_a_range(uml: Machine, on_uml: Serve) -> None:
    first = free(2)
    names = [on_uml("-p", f"{first}-{first + 1}:80", "--hostname", f"h{number}") for number in range(2)]
    for number, name in enumerate(names):
        shown = uml.docker("port", name, "80/tcp").stdout.decode().splitlines()
        assert get(int(shown[0].rpartition(":")[2])) == f"h{number}\n".encode()


@pytest.mark.parametrize("options", [("-p", "80"), ("--expose", "80", "-P")], ids=["-p", "-P"])
def test_the_engine_chooses(uml: Machine, on_uml: Serve, options: tuple[str, ...]) -> None:
    name = on_uml(*options)
    lines = uml.docker("port", name, "80/tcp").stdout.decode().split()
    assert lines
    for line in lines:
        address, _, port = line.rpartition(":")
        assert int(port) >= 61000
        assert get(int(port), "127.0.0.1" if address == "0.0.0.0" else "::1")


def test_datagrams(serve: Serve) -> None:
    port = free()
    serve("-p", f"{port}:9/udp", image=DEBIAN, command=UDP_ECHO)
    exchange(port)


def exchange(port: int, address: str = "127.0.0.1") -> None:
    """Several clients, of which the first tries again: nothing tells when the server has its port, and UDP forgets."""
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for client in clients:
        client.connect((address, port))
        client.settimeout(0.5)
    for _ in range(100):
        clients[0].send(b"anyone?")
        try:
            assert clients[0].recv(100) == b"anyone?"
            break
        except TimeoutError:
            continue
    for data in (b"one", b"", b"x" * 8000):
        for client in clients[1:]:
            client.settimeout(WAIT)
            client.send(data)
        for client in clients[1:]:
            assert client.recv(1 << 16) == data
    for client in clients:
        client.close()


def test_a_range_of_datagrams_on_one_address(uml: Machine, on_uml: Serve) -> None:
    first = free(2)
    name = on_uml("-p", f"127.0.0.2:{first}-{first + 1}:9-10/udp", image=DEBIAN, command=UDP_ECHO)
    shown = sorted(uml.docker("port", name).stdout.decode().splitlines())
    assert shown == [f"{inner}/udp -> 127.0.0.2:{outer}" for inner, outer in ((10, first + 1), (9, first))]
    exchange(first, "127.0.0.2")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:  # nobody has it on another address
        elsewhere.bind(("127.0.0.1", first))


def test_tcp_and_udp_share_a_number(on_uml: Serve) -> None:
    port = free()
    on_uml("-p", f"{port}:9/udp", image=DEBIAN, command=UDP_ECHO)
    on_uml("-p", f"{port}:80")
    assert get(port)
    exchange(port)


def test_half_closed_and_many(machine: Machine, serve: Serve) -> None:
    port = free()
    serve("-p", f"{port}:7", image=DEBIAN, command=TCP_ECHO)
    assert ask(port, b"b\na\n") == b"b\na\n"
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda number: ask(port, f"{number}\n".encode()), range(50)))
    assert answers == [f"{number}\n".encode() for number in range(50)]


def test_large_transfers_arrive_whole(on_uml: Serve) -> None:
    port = free(2)
    data = os.urandom(20 << 20)
    on_uml(
        "-p", f"{port}:7", "-p", f"{port + 1}:8",
        command=("sh", "-c", "nc -ll -p 8 -e md5sum & exec nc -ll -p 7 -e cat"),
    )  # fmt: skip
    assert ask(port + 1, data).split()[0].decode() == hashlib.md5(data, usedforsecurity=False).hexdigest()
    with ThreadPoolExecutor(1) as pool, socket.create_connection(("127.0.0.1", port), WAIT) as connection:

        def send() -> None:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        sending = pool.submit(send)
        assert b"".join(iter(lambda: connection.recv(1 << 20), b"")) == data
        sending.result()


@pytest.mark.parametrize("options", [(), ("--rm",), ("-d",)], ids=["plain", "rm", "detached"])
def test_a_port_that_is_taken_is_told_as_docker_does(uml: Machine, options: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = uml.run(*options, "--name", "clash", "-p", f"{port}:80", BUSYBOX, "true", code=125)
        assert "driver failed programming external connectivity on endpoint clash (" in talk(done)
        assert f"listen tcp4 0.0.0.0:{port}: bind: address already in use" in talk(done)
        exists = uml.docker("inspect", "clash", code=None).returncode == 0
        assert exists == ("--rm" not in options)
    if exists:  # and it is free now
        uml.docker("start", "clash")
        uml.docker("rm", "-f", "clash")


def test_an_address_that_is_not_ours(uml: Machine) -> None:
    done = uml.run("--rm", "-p", f"192.0.2.1:{free()}:80", BUSYBOX, "true", code=125)
    assert "bind: cannot assign requested address" in talk(done)


def test_a_port_goes_from_one_container_to_the_next(on_uml: Serve, uml: Machine) -> None:
    port = free()
    for number in range(5):
        name = on_uml("--rm", "-p", f"{port}:80", "--hostname", f"h{number}")
        assert get(port) == f"h{number}\n".encode()
        uml.docker("kill", name)


def test_two_containers_cannot_share(on_uml: Serve, uml: Machine) -> None:
    port = free()
    on_uml("-p", f"{port}:80", "--hostname", "first")
    done = uml.run("--rm", "-p", f"{port}:80", BUSYBOX, "true", code=125)
    assert "driver failed programming external connectivity" in talk(done)
    assert get(port) == b"first\n"


def test_an_own_network_and_its_loss(on_uml: Serve, uml: Machine) -> None:
    port = free()
    uml.docker("network", "create", "port-net")
    try:
        name = on_uml("-p", f"{port}:80", "--network", "port-net")
        assert get(port)
        uml.docker("network", "connect", "bridge", name)
        uml.docker("network", "disconnect", "port-net", name)
        wait_until(lambda: answers(port), "the port on the other network")
        uml.docker("rm", "-f", name)
    finally:
        uml.docker("network", "rm", "port-net")


def test_a_container_that_ends_itself_lets_go(on_uml: Serve) -> None:
    port = free()
    on_uml("-p", f"{port}:80", command=("sleep", "1"))
    wait_until(lambda: not reachable(port), "the port to go with its container")


def test_the_hosts_network_shows_at_loopback(on_uml: Serve, uml: Machine) -> None:
    port = free(2)
    name = on_uml("--network", "host", command=("httpd", "-f", "-p", str(port), "-h", "/etc"))
    wait_until(lambda: reachable(port), "the listener on the host", deadline=10)
    assert get(port)
    assert not [each for each in ports_of(uml, name) if each[1] not in ("127.0.0.1", "::1")]
    uml.docker("rm", "-f", name)
    assert not reachable(port)


def test_restart_policies_bring_ports_back(uml: Machine, on_uml: Serve) -> None:
    port = free()
    name = on_uml("--restart", "always", "-p", f"{port}:80")
    pid = uml.docker("inspect", "-f", "{{.State.Pid}}", name).stdout.decode().strip()
    uml.shell("kill", "-9", pid)
    wait_until(lambda: answers(port), "the container's second life")
    uml.home.cove("restart", uml.name)
    assert get(port)


def test_ports_go_and_come_back_with_whatever_died(home: Home) -> None:
    machine = home.machine()
    port = free()
    home.cove("create", "default", "--driver", "uml", "--start", deadline=300)
    machine.run("-d", "--restart", "always", "-p", f"{port}:80", BUSYBOX, "httpd", "-f", "-h", "/etc")
    assert get(port)
    for role in ("supervisor", "gvproxy", "vmm"):
        machine.shell("sync")
        os.kill(machine.processes()[role], signal.SIGKILL)
        wait_until(lambda: not reachable(port), f"the port to go with the {role}")
        machine.start()
        assert get(port), role
    home.cove("stop", "default")
    assert not reachable(port)
    assert machine.inspect()["ports"] == []


def test_several_machines(uml: Machine, shared: Home) -> None:
    shared.cove("create", "neighbour", "--driver", "uml", "--memory", "1G", "--start")
    other = shared.machine("neighbour")
    port = free(2)
    try:
        for number, machine in enumerate((uml, other)):
            machine.run(
                "-d", "--name", "same", "--hostname", machine.name, "-p", f"{port + number}:80", "-p", "80",
                BUSYBOX, "httpd", "-f", "-h", "/etc",
            )  # fmt: skip
        chosen: set[int] = set()
        for number, machine in enumerate((uml, other)):
            assert get(port + number) == f"{machine.name}\n".encode()
            shown = machine.docker("port", "same", "80/tcp").stdout.decode().split()
            mine = {int(line.rpartition(":")[2]) for line in shown} - {port + number}
            assert all(get(each) == f"{machine.name}\n".encode() for each in mine)
            assert not mine & chosen
            chosen |= mine
        done = other.run("--rm", "-p", f"{port}:80", BUSYBOX, "true", code=125)
        assert "address already in use" in talk(done)
    finally:
        uml.docker("rm", "-f", "same")
        shared.cove("delete", "-f", "neighbour")


def test_nothing_listens_where_nothing_is_published(uml: Machine) -> None:
    """The supervisor, gvproxy and the VMM together have no TCP or UDP listener on the host."""
    uml.docker("ps")
    inodes = set()
    for pid in uml.processes().values():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = str(link.readlink())
            inodes |= {target[8:-1]} if target.startswith("socket:[") else set()
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.append(fields[1])
    published = {each["port"] for each in uml.inspect()["ports"]}
    assert {int(each.rpartition(":")[2], 16) for each in listening} <= published
