# SPDX-License-Identifier: Apache-2.0
"""What no container may reach: the engine's API, the guest agent, gvproxy's control API (SECURITY.md).

Bridge and host-network containers try every address by which one of them could be had. Nothing may even accept a
connection; a listener of the host's, which containers may reach, shows that the way of looking is not blind.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.integration.world import Machine

GATEWAY, GUEST, HOST = "192.168.127.1", "192.168.127.2", "192.168.127.254"
DOCKER0 = "172.17.0.1"
PORTS = (22, 80, 443, 60997, 60998, 2375, 2376, 2377, 5000, 8080)
NETWORKS = ("bridge", "host")


@pytest.fixture(scope="module")
def open_port() -> Iterator[int]:
    """A listener on the host's loopback that answers everyone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    with listener.accept()[0] as client:
                        client.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello\n")
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def connections(machine: Machine, network: str, targets: list[tuple[str, int]], *options: str) -> set[str]:
    """Which of the addresses accept a connection from inside a container."""
    # -e: what runs once a connection stands
    tries = "".join(
        f"(nc -w 4 {address} {port} -e true 2>/dev/null && echo {address}:{port}) &\n"
        for address, port in targets
    )
    return set(machine.sh(tries + "wait", "--network", network, *options).split())


@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_accepts_a_connection(machine: Machine, network: str, open_port: int) -> None:
    addresses = (GATEWAY, GUEST, DOCKER0, "127.0.0.1", "0.0.0.0")
    targets = [(address, port) for address in addresses for port in PORTS]
    if network == "host":
        targets += [("::1", port) for port in PORTS]
    found = connections(machine, network, [*targets, (HOST, open_port)])
    assert found == {f"{HOST}:{open_port}"}


@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_of_the_machine_is_on_the_hosts_loopback(uml: Machine, network: str, open_port: int) -> None:
    """The way to the host's loopback leads to the host's own services only."""
    targets = [(HOST, port) for port in (60997, 60998, 2375, 2376)]
    occupied = {f"{HOST}:{port}" for _, port in targets if _listens(port)}
    found = connections(uml, network, [*targets, (HOST, open_port)])
    assert found == {f"{HOST}:{open_port}"} | occupied


@pytest.mark.parametrize("network", NETWORKS)
def test_capabilities_do_not_help(uml: Machine, network: str, open_port: int) -> None:
    """A container that may shape its packets and addresses still gets nowhere."""
    targets = [(GATEWAY, 80), (GUEST, 60997), (GUEST, 60998)]
    caps = ("--cap-add", "NET_RAW", "--user", "0")
    assert connections(uml, network, [*targets, (HOST, open_port)], *caps) == {f"{HOST}:{open_port}"}


@pytest.mark.parametrize("network", NETWORKS)
def test_gvproxys_control_api_does_not_answer(uml: Machine, network: str, open_port: int) -> None:
    """Asked as its own clients ask, by address and by name."""
    paths = ("/services/forwarder/all", "/services/dhcp/leases", "/stats", "/cam")
    urls = [f"http://{host}{path}" for host in (GATEWAY, "gateway.containers.internal") for path in paths]
    tries = [f"(wget -q -T 6 -O - {url} && echo {url}) &" for url in (*urls, f"http://{HOST}:{open_port}/")]
    found = uml.sh("\n".join([*tries, "wait"]), "--network", network)
    assert found.split() == ["hello", f"http://{HOST}:{open_port}/"]


@pytest.mark.parametrize("network", NETWORKS)
def test_names_are_still_answered_over_tcp(uml: Machine, network: str) -> None:
    """The one port of the gateway that must be open: DNS."""
    assert connections(uml, network, [(GATEWAY, 53)]) == {f"{GATEWAY}:53"}


def test_no_abstract_socket_leads_to_the_engine(uml: Machine) -> None:
    """Abstract unix sockets belong to the network namespace, so a host-network container sees them all."""
    names = uml.sh("awk '{print $8}' /proc/net/unix | grep ^@ || true", "--network", "host").split()
    assert not [name for name in names if "docker" in name or "containerd" in name or "cove" in name]


def test_the_guest_itself_listens_on_the_outer_device_only(uml: Machine) -> None:
    """What listens in the guest's network namespace: control, relay, and questions for names."""
    script = "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" {print $2}'"
    ports = {
        int(line.rpartition(":")[2], 16) for line in uml.shell("sh", "-c", script).stdout.decode().split()
    }
    assert ports == {60997, 60998, 60999}


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
