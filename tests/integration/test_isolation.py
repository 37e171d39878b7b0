# SPDX-License-Identifier: Apache-2.0
"""What no container may reach over the network: the engine's API, the guest agent, gvproxy's control API (SECURITY.md).

Bridge and host-network containers try every address by which one of them could be had, also with frames of their
own making. Nothing may even accept a connection; a listener of the host's, which containers may reach, shows that
the way of looking is not blind. What a privileged container can do is in ``test_doors.py``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.integration.world import Machine

GATEWAY, GUEST, AGENT, HOST = "192.168.127.1", "192.168.127.2", "192.168.127.3", "192.168.127.254"
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
    addresses = (GATEWAY, GUEST, AGENT, DOCKER0, "127.0.0.1", "0.0.0.0")
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
    """A container that may change the network and its rules still gets nowhere."""
    targets = [(GATEWAY, 80), (AGENT, 60997), (AGENT, 60998)]
    caps = ("--cap-add", "NET_RAW", "--cap-add", "NET_ADMIN", "--user", "0")
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


def test_nothing_of_coves_listens_where_containers_are(machine: Machine) -> None:
    """But for names. The agent's sockets lie in a network of their own, the wire; docker has none but unix sockets."""
    listening = (
        "cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 | awk '$4 ~ /0A|07/ {print $2}'"
    )
    found = {}
    for where in ((), ("nsenter", "--net=/run/cove/wire")):
        lines = machine.shell(*where, "sh", "-c", listening).stdout.decode().split()
        found[where] = {int(line.rpartition(":")[2], 16) for line in lines}
    assert list(found.values()) == [{60999}, {60997, 60998}]


def test_the_wire_cannot_be_seen_from_the_hosts_network(machine: Machine) -> None:
    """A container with the guest's own network has one end of a pair; the device to the host is not there."""
    links = machine.sh("ip -o link", "--network", "host", "--cap-add", "NET_ADMIN")
    assert "5a:94:ef:e4:0c:ee" not in links
    assert "eth0" in links


FRAMES = r"""
import select, socket, struct, sys, time
gateway, guest, agent, host, open_port = sys.argv[1:5] + [int(sys.argv[5])]
wire_mac, gateway_mac = bytes.fromhex("5a94efe40cee"), bytes.fromhex("5a94efe40cdd")
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("eth0", 0))
own_mac = link.getsockname()[4]
packed = socket.inet_aton
def total(data):
    data += bytes(len(data) % 2)
    found = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while found >> 16:
        found = (found & 0xFFFF) + (found >> 16)
    return ~found & 0xFFFF
def syn(source, target, port, own):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, packed(source), packed(target))
    head = head[:10] + struct.pack("!H", total(head)) + head[12:]
    tcp = struct.pack("!HHIIBBHHH", own, port, 7, 0, 0x50, 2, 8192, 0, 0)
    sum_ = total(packed(source) + packed(target) + struct.pack("!BBH", 0, 6, 20) + tcp)
    return head + tcp[:16] + struct.pack("!H", sum_) + tcp[18:]
def router():
    link.send(b"\xff" * 6 + own_mac + b"\x08\x06" + struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, own_mac,
        packed(guest), bytes(6), packed(gateway)))
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if select.select([link], [], [], 1)[0]:
            frame = link.recv(9100)
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[28:32] == packed(gateway):
                return frame[22:28]
router_mac = router()
own = 20000
tries = {}
for source in (guest, gateway, agent, "10.1.2.3"):
    for target, port in ((gateway, 80), (agent, 60997), (agent, 60998), (host, open_port)):
        for mac in (router_mac, wire_mac, gateway_mac, b"\xff" * 6):
            own += 1
            tries[own] = (source, target, port)
            link.send(mac + own_mac + b"\x08\0" + syn(source, target, port, own))
answers, foreign = set(), set()
end = time.monotonic() + 8
while time.monotonic() < end:
    if select.select([link], [], [], 0.5)[0]:
        frame = link.recv(9100)
        if frame[12:14] != b"\x08\0" or frame[23] != 6:
            continue
        at = 14 + 4 * (frame[14] & 15)
        source, target, flags = *struct.unpack("!HH", frame[at:at + 4]), frame[at + 13]
        if target in tries and flags & 0x12 == 0x12:
            answers.add(tries[target])
        elif {source, target} & {60997, 60998}:
            foreign.add((source, target))
print(sorted(answers), sorted(foreign - {(own, 60997) for own in tries} - {(own, 60998) for own in tries}))
"""


@pytest.fixture(scope="module")
def python_image(machine: Machine) -> str:
    """A container image with the guest's own Python; no built-in one can speak to a packet socket."""
    names = ("libc.so.6", "libm.so.6", "libz.so.1", "libexpat.so.1")
    libraries = " ".join(f"usr/lib/x86_64-linux-gnu/{name}" for name in names)
    # -h: what links lead to
    pack = f"cd / && tar -hc lib64/ld-linux-x86-64.so.2 usr/bin/python3.13 usr/lib/python3.13 {libraries}"
    packed = machine.shell("sh", "-c", pack).stdout
    machine.docker("import", "-", "raw-python", stdin=packed)
    return "raw-python"


@pytest.mark.parametrize("rights", [(), ("--cap-add", "NET_ADMIN")])
def test_frames_of_a_containers_own_making_get_nowhere(
    machine: Machine, python_image: str, open_port: int, rights: tuple[str, ...]
) -> None:
    """A host-network container may send any frame, as NET_RAW is docker's default. It makes connections under every
    name, to every door, by every ethernet address; and listens for what passes between host and agent."""
    before = _dropped(machine)
    python = ("/usr/bin/python3.13", "-c", FRAMES, GATEWAY, GUEST, AGENT, HOST, str(open_port))
    found = machine.run("--rm", "--network", "host", *rights, python_image, *python).stdout.decode()
    # under its own name, to the host's own service, which is open to all
    assert found == f"[('{GUEST}', '{HOST}', {open_port})] []\n"
    # what came under another's name, or to a door, did reach the router, and ended there
    assert _dropped(machine) - before >= 12 + 3


def _dropped(machine: Machine) -> int:
    """Packets that the rules of the wire have dropped so far."""
    rules = machine.shell(
        "nsenter", "--net=/run/cove/wire", "iptables-save", "-c", "-t", "raw"
    ).stdout.decode()
    return sum(int(line[1:].split(":")[0]) for line in rules.splitlines() if line.endswith("-j DROP"))


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
