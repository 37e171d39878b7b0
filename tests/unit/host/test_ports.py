# SPDX-License-Identifier: Apache-2.0
"""What inspect says (recorded from dockerd 26.1.5) becomes addresses of the host."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from cove.host.ports import (
    Container,
    HostPort,
    Protocol,
    Target,
    advice,
    ephemeral_range,
    read_container,
    read_listeners,
    refusal,
)

ID = "f373d59c4f102ecdb0bbee69a21d4f45f7786810bb1510cdd22bbe2146a7a66e"
ASKED = {
    "80/tcp": [
        {"HostIp": "", "HostPort": ""},
        {"HostIp": "127.0.0.1", "HostPort": "8081"},
        {"HostIp": "::1", "HostPort": "9000"},
    ],
    "81/tcp": [{"HostIp": "", "HostPort": "8000-8003"}],
    "82/udp": [{"HostIp": "10.1.2.3", "HostPort": "9001"}],
}
MADE = {
    "80/tcp": [
        {"HostIp": "::1", "HostPort": "9000"},
        {"HostIp": "127.0.0.1", "HostPort": "8081"},
        {"HostIp": "0.0.0.0", "HostPort": "32768"},
        {"HostIp": "::", "HostPort": "32768"},
    ],
    "81/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8000"}, {"HostIp": "::", "HostPort": "8000"}],
    "82/udp": [{"HostIp": "10.1.2.3", "HostPort": "9001"}],
    "83/tcp": None,
}
BRIDGE = {"bridge": {"IPAddress": "172.17.0.2", "Gateway": "172.17.0.1", "GlobalIPv6Address": ""}}


def info(
    asked: Any = None, made: Any = None, *, running: bool = True, networks: Any = None, **config: Any
) -> dict[str, Any]:
    return {
        "Id": ID,
        "Name": "/web",
        "State": {"Running": running},
        "HostConfig": {"NetworkMode": "bridge", "AutoRemove": False, "PortBindings": asked, **config},
        "NetworkSettings": {"Ports": made or {}, "Networks": BRIDGE if networks is None else networks},
    }


def at(text: str, protocol: Protocol = "tcp") -> HostPort:
    address, _, port = text.rpartition(":")
    return HostPort(protocol=protocol, address=address.strip("[]"), port=int(port))


def test_a_running_container() -> None:
    found = read_container(info(ASKED, MADE))
    web, other = (Target(protocol="tcp", address="172.17.0.2", port=port) for port in (80, 81))
    assert found.published == {
        at("[::1]:9000"): web,
        at("127.0.0.1:8081"): web,
        at("0.0.0.0:32768"): web,
        at("[::]:32768"): web,
        at("0.0.0.0:8000"): other,
        at("[::]:8000"): other,
        at("10.1.2.3:9001", "udp"): Target(protocol="udp", address="172.17.0.2", port=82),
    }
    assert (found.id, found.name, found.publishes) == (ID, "web", True)
    assert [str(each) for each in sorted(found.published)][:2] == ["0.0.0.0:8000", "0.0.0.0:32768"]


def test_a_stopped_container_has_only_what_it_will_want() -> None:
    found = read_container(info(ASKED, running=False))
    assert found.published == {}
    assert found.fixed == {at("127.0.0.1:8081"), at("[::1]:9000"), at("10.1.2.3:9001", "udp")}


def test_no_address_means_both_families() -> None:
    asked = {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}
    made = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}  # the guest has no IPv6
    found = read_container(info(asked, made))
    assert found.fixed == set(found.published) == {at("0.0.0.0:8080"), at("[::]:8080")}


def test_an_address_means_itself() -> None:
    asked = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "", "HostPort": "9090"}]}
    made = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "0.0.0.0", "HostPort": "9090"}]}
    found = read_container(info(asked, made))
    assert set(found.published) == {at("0.0.0.0:8080"), at("0.0.0.0:9090"), at("[::]:9090")}


def test_publish_all() -> None:
    made = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "61000"}, {"HostIp": "::", "HostPort": "61000"}]}
    found = read_container(info({}, made, PublishAllPorts=True))
    assert found.publishes
    assert not found.fixed
    assert set(found.published) == {at("0.0.0.0:61000"), at("[::]:61000")}


@pytest.mark.parametrize("mode", ["host", "none", "container:abc"])
def test_modes_that_publish_nothing(mode: str) -> None:
    found = read_container(info(ASKED, MADE, NetworkMode=mode))
    assert (found.publishes, found.fixed, found.published) == (False, frozenset(), {})
    assert found.host_network == (mode == "host")


def test_sctp_is_left_out() -> None:
    asked = {"80/sctp": [{"HostIp": "", "HostPort": "80"}]}
    found = read_container(info(asked, {"80/sctp": [{"HostIp": "0.0.0.0", "HostPort": "80"}]}))
    assert (found.fixed, found.published) == (frozenset(), {})


@pytest.mark.parametrize(
    ("networks", "address"),
    [
        ({"a": {"IPAddress": "10.0.0.2", "Gateway": ""}, "b": {"IPAddress": "10.1.0.2", "Gateway": "x"}}, "10.1.0.2"),
        ({"a": {"IPAddress": "", "GlobalIPv6Address": "fd00::2", "Gateway": ""}}, "fd00::2"),
    ],
)  # fmt: skip
def test_several_networks(networks: Any, address: str) -> None:
    found = read_container(info(ASKED, MADE, networks=networks))
    assert {target.address for target in found.published.values()} == {address}


def test_no_network_no_ports() -> None:
    assert read_container(info(ASKED, MADE, networks={})).published == {}


def test_refusals_are_dockers_own_words() -> None:
    container: Container = read_container(info(ASKED, running=False))
    assert refusal(container, at("0.0.0.0:8080"), errno.EADDRINUSE) == (
        f"driver failed programming external connectivity on endpoint web ({ID}): "
        "Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use"
    )
    assert refusal(container, at("[::1]:80", "udp"), errno.EACCES).endswith(
        "listen udp6 [::1]:80: bind: permission denied"
    )
    assert "ip_unprivileged_port_start=80" in advice(at("0.0.0.0:80"), errno.EACCES)
    assert "on all: -p 80:PORT" in advice(at("127.0.0.1:80"), errno.EACCES, mac=True)
    assert "another program" in advice(at("0.0.0.0:80"), errno.EADDRINUSE)
    assert "does not have" in advice(at("10.9.9.9:80"), errno.EADDRNOTAVAIL)


def test_machines_draw_from_ranges_of_their_own() -> None:
    found = {ephemeral_range(f"/home/someone/.cove/m/{number}") for number in range(50)}
    assert all(61000 <= first < last <= 65535 and last - first == 1023 for first, last in found)
    assert len(found) > 35


def test_listeners_show_at_the_loopback() -> None:
    found = read_listeners(
        "a 0.0.0.0 80\na 127.0.0.1 81\na :: 82\na ::1 83\nb 172.17.0.1 80\nb fe80::1 80\na fd00::1 84\n\n"
    )
    assert {str(port): target.address for port, target in found["a"].items() if port.port == target.port} == {
        "127.0.0.1:80": "127.0.0.1",
        "127.0.0.1:81": "127.0.0.1",
        "127.0.0.1:82": "127.0.0.1",
        "[::1]:82": "::1",
        "[::1]:83": "::1",
        "[::1]:84": "fd00::1",
    }
    assert found["b"] == {at("127.0.0.1:80"): Target(protocol="tcp", address="172.17.0.1", port=80)}
    with pytest.raises(ValueError):
        read_listeners("a 1.2.3.4\n")
