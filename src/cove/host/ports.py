# SPDX-License-Identifier: Apache-2.0
"""Which ports of the host a container wants, read from what the engine's inspect says of it. Pure.

Source of the form: Docker Engine API v1.45, ``GET /containers/{id}/json``: ``HostConfig.PortBindings`` is what the
user asked for, ``NetworkSettings.Ports`` what the engine made of it.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal

Protocol = Literal["tcp", "udp"]

ANY = ("0.0.0.0", "::")  # noqa: S104  (what docker means by no address)
"""The addresses that stand for all of one family."""

_PRIVILEGED = 1024

_EPHEMERAL_FIRST = 61000
_EPHEMERAL_COUNT = 1024
_EPHEMERAL_STEP = 16
_EPHEMERAL_STEPS = (65536 - _EPHEMERAL_FIRST - _EPHEMERAL_COUNT) // _EPHEMERAL_STEP


@dataclass(frozen=True, kw_only=True, order=True)
class HostPort:
    """One address of the host to listen on.

    Args:
        protocol: "tcp" or "udp".
        address: of IPv4 or IPv6; "0.0.0.0" and "::" are all of the family.
        port: from 1 to 65535.
    """

    protocol: Protocol
    address: str
    port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"

    @property
    def network(self) -> str:
        """Its kind as Go calls it: "tcp4"."""
        return f"{self.protocol}{6 if ':' in self.address else 4}"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where connections go in the guest: a container's own address and port."""

    protocol: Protocol
    address: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Container:
    """What is to be known of a container.

    Args:
        id: all 64 digits.
        name: without docker's leading slash.
        running: also while it is paused.
        started: when it was started last, in the engine's words.
        auto_remove: docker removes it when it ends, or could not be started.
        host_network: it lives in the guest's own network.
        publishes: it asks for ports of the host.
        fixed: the ports with a number of their own.
        published: where each port leads, while it runs.
    """

    id: str
    name: str
    running: bool
    started: str
    auto_remove: bool
    host_network: bool
    publishes: bool
    fixed: frozenset[HostPort]
    published: Mapping[HostPort, Target]


def read_container(info: Mapping[str, Any]) -> Container:
    """Read what inspect says.

    Raises:
        KeyError: it is not of the form that is known.
    """
    config: Mapping[str, Any] = info["HostConfig"]
    mode = config.get("NetworkMode", "")
    asked: Mapping[str, Any] = config.get("PortBindings") or {}
    inner = mode in ("host", "none") or mode.startswith("container:")
    running = bool(info["State"]["Running"])
    return Container(
        id=info["Id"],
        name=info["Name"].removeprefix("/"),
        running=running,
        started=info["State"].get("StartedAt", ""),
        auto_remove=bool(config.get("AutoRemove")),
        host_network=mode == "host",
        publishes=not inner and bool(asked or config.get("PublishAllPorts")),
        fixed=frozenset() if inner else frozenset(_fixed(asked)),
        published=dict(_published(info["NetworkSettings"], asked)) if running and not inner else {},
    )


def _split(port: str) -> tuple[Protocol, int] | None:
    """Number and protocol of "80/tcp", or None for a protocol that is not carried (sctp)."""
    number, _, protocol = port.partition("/")
    match protocol:
        case "tcp" | "udp":
            return protocol, int(number)
        case _:
            return None


def _addresses(text: str) -> tuple[str, ...]:
    """The addresses that a binding's HostIp means."""
    return (text,) if text else ANY


def _fixed(asked: Mapping[str, Any]) -> Iterator[HostPort]:
    for port, bindings in asked.items():
        parts = _split(port)
        if parts is None:
            continue
        for binding in bindings or ():
            number = binding.get("HostPort") or "0"
            if number.isdigit() and int(number):  # else a range, or none: the engine chooses
                for address in _addresses(binding.get("HostIp") or ""):
                    yield HostPort(protocol=parts[0], address=address, port=int(number))


def _published(settings: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[tuple[HostPort, Target]]:
    inside = _inside(settings.get("Networks") or {})
    for port, bindings in (settings.get("Ports") or {}).items():
        parts = _split(port)
        if parts is None or inside is None or not bindings:
            continue
        target = Target(protocol=parts[0], address=inside, port=parts[1])
        for binding in bindings:
            address, number = binding.get("HostIp") or ANY[0], int(binding["HostPort"])
            for each in ANY if address in ANY and _everywhere(asked.get(port), number) else (address,):
                yield HostPort(protocol=parts[0], address=each, port=number), target


def _everywhere(asked: Any, number: int) -> bool:
    """Whether a port was asked for without an address, so that it means IPv4 and IPv6 of the host.

    The engine tells only 0.0.0.0 where the guest, not the host, lacks IPv6.
    """
    bindings: Sequence[Mapping[str, Any]] = asked or ({},)
    # a range, or no number: the engine chose this one
    return any(
        not each.get("HostIp")
        and ((text := each.get("HostPort") or "0") in ("0", str(number)) or "-" in text)
        for each in bindings
    )


def _inside(networks: Mapping[str, Any]) -> str | None:
    """The container's own address: any of them, since its processes listen on all; those with a gateway first."""
    found = sorted(networks.items(), key=lambda item: (not item[1].get("Gateway"), item[0]))
    for key in ("IPAddress", "GlobalIPv6Address"):
        for _, network in found:
            if address := network.get(key):
                return str(ip_address(address))
    return None


def ephemeral_range(machine: str) -> tuple[int, int]:
    """The first and the last of the ports from which a machine's engine draws, where the user names none.

    Each machine has its own, as far as a hash can tell them apart, above the range from which Linux hosts draw
    theirs (32768 to 60999): so what the engine drew is free on the host, nearly always.

    Args:
        machine: what tells it from all others of this host, such as its folder.
    """
    number = int.from_bytes(hashlib.sha256(machine.encode()).digest()[:4])
    first = _EPHEMERAL_FIRST + number % _EPHEMERAL_STEPS * _EPHEMERAL_STEP
    return first, first + _EPHEMERAL_COUNT - 1


def read_listeners(text: str) -> dict[str, dict[HostPort, Target]]:
    """What host-network containers listen on, at the host's loopback.

    Args:
        text: a line ``CONTAINER ADDRESS PORT`` for each listening socket, as the guest agent tells.

    Returns:
        for each container the ports of the host and where they lead in the guest.

    Raises:
        ValueError: it is not of that form.
    """
    found: dict[str, dict[HostPort, Target]] = {}
    for line in text.splitlines():
        if not line:
            continue
        container, address, port = line.split(" ")
        ports = found.setdefault(container, {})
        for here, there in _at_loopback(address):
            target = Target(protocol="tcp", address=there, port=int(port))
            ports.setdefault(HostPort(protocol="tcp", address=here, port=int(port)), target)
    return found


def _at_loopback(address: str) -> tuple[tuple[str, str], ...]:
    """Addresses of the host, each with the one in the guest that it leads to."""
    parsed = ip_address(address)
    v4, v6 = ("127.0.0.1", "127.0.0.1"), ("::1", "::1")
    if parsed.is_unspecified:  # sockets of IPv6 take IPv4 as well, nearly always
        return (v4,) if parsed.version == 4 else (v4, v6)
    if parsed.version == 6 and parsed.is_link_local:
        return ()
    return ((v4[0] if parsed.version == 4 else v6[0], address),)


_GO_SAYS = {
    errno.EADDRINUSE: "address already in use",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EADDRNOTAVAIL: "cannot assign requested address",
}


def refusal(container: Container, port: HostPort, number: int) -> str:
    """The sentence with which dockerd refuses to start a container whose port cannot be had on the host.

    Source: libnetwork/drivers/bridge and cmd/docker-proxy of moby 26.1; there the id is the endpoint's.
    """
    reason = _GO_SAYS.get(number) or os.strerror(number).lower()
    return (
        f"driver failed programming external connectivity on endpoint {container.name} ({container.id}): "
        f"Error starting userland proxy: listen {port.network} {port}: bind: {reason}"
    )


def advice(port: HostPort, number: int, *, mac: bool = False) -> str:
    """What to do about a port that cannot be had.

    Args:
        port: the port.
        number: the error, of :mod:`errno`.
        mac: whether this host is a Mac: since macOS 10.14 everybody may have ports below 1024, but on all
            addresses only, not on a single one.
    """
    if number == errno.EADDRINUSE:
        return "another program of this host listens there"
    if number in (errno.EACCES, errno.EPERM) and port.port < _PRIVILEGED:
        if mac:
            return f"macOS keeps ports below 1024 of single addresses for root; publish it on all: -p {port.port}:PORT"
        return (
            "ports below 1024 are for root on this host; publish a higher one, or allow it: "
            f"sudo sysctl net.ipv4.ip_unprivileged_port_start={port.port}"
        )
    return "this host does not have that address" if number == errno.EADDRNOTAVAIL else os.strerror(number)
