# SPDX-License-Identifier: Apache-2.0
"""What gvproxy forwards from the host to the guest, in the words of its control API. Pure.

The forms are those of ``pkg/services/forwarder/ports.go`` in containers/gvisor-tap-vsock 0.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cove.errors import ConflictError, CoveError, NetworkError, NotFoundError

GATEWAY = "192.168.127.1"
"""gvproxy inside the guest's network: gateway, DNS and, at port 80, its control API (the guest blocks that)."""

HOST = "192.168.127.254"
"""The host's loopback, seen from the guest."""

GUEST = "192.168.127.2"
"""The guest; gvproxy leases it to :data:`GUEST_MAC`."""

AGENT = "192.168.127.3"
"""The guest's own end of the wire, which only its agent listens at."""

GUEST_MAC = "5a:94:ef:e4:0c:ee"
"""The ethernet address for which gvproxy keeps :data:`GUEST`."""

Protocol = Literal["tcp", "udp", "unix"]


@dataclass(frozen=True, kw_only=True)
class Forward:
    """One listener on the host and where its connections go.

    Args:
        local: "ADDRESS:PORT" on the host, or the path of a unix socket.
        remote: "ADDRESS:PORT" in the guest's network.
        protocol: what is listened for.
    """

    local: str
    remote: str
    protocol: Protocol = "tcp"

    def to_wire(self) -> dict[str, str]:
        """The body of an expose request; a unix socket's goal is written as a URL there."""
        remote = f"tcp://{self.remote}" if self.protocol == "unix" else self.remote
        return {"local": self.local, "remote": remote, "protocol": self.protocol}

    @classmethod
    def from_wire(cls, data: object) -> Forward:
        """One entry of the API's list.

        Raises:
            NetworkError: it is not of the form that is known.
        """
        match data:
            case {"local": str(local), "remote": str(remote), "protocol": "tcp" | "udp" | "unix" as protocol}:
                return cls(local=local, remote=remote.removeprefix("tcp://"), protocol=protocol)
            case _:
                raise NetworkError(f"gvproxy lists a forward that Cove does not understand: {data!r}")


def to_port(port: int, *, host_port: int | None = None, address: str = "127.0.0.1") -> Forward:
    """A TCP port of the guest at a port of the host, by default the same on its loopback."""
    return Forward(local=f"{address}:{port if host_port is None else host_port}", remote=f"{GUEST}:{port}")


def to_unix(path: Path, port: int) -> Forward:
    """A TCP port of the guest at a unix socket of the host."""
    return Forward(local=str(path), remote=f"{AGENT}:{port}", protocol="unix")


_REFUSALS: Mapping[str, tuple[type[CoveError], str, str | None]] = {
    "address already in use": (
        ConflictError,
        "{local} is taken on this host",
        "Publish another port, or end the program that listens there.",
    ),
    "proxy already running": (ConflictError, "{local} is forwarded already", None),
    "proxy not found": (NotFoundError, "{local} is not forwarded", None),
    "permission denied": (
        NetworkError,
        "{local} may not be opened on this host",
        "Ports below 1024 need privileges on most hosts: publish a higher one.",
    ),
    "cannot assign requested address": (NetworkError, "{local} is no address of this host", None),
}


def refusal(local: str, status: int, text: str) -> CoveError:
    """The error for a request about ``local`` that gvproxy refused; it answers 500 and a sentence to all."""
    for phrase, (kind, message, hint) in _REFUSALS.items():
        if phrase in text:
            return kind(message.format(local=local), details=text.strip(), hint=hint)
    return NetworkError(f"gvproxy refused a request about {local} ({status})", details=text.strip())
