# SPDX-License-Identifier: Apache-2.0
"""The two files that say how this host finds names: resolv.conf(5) and hosts(5). Pure: they are given as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

MOST_SERVERS = 3
"""Name servers that count, as in the C library."""

_LOCAL = "127.0.0.1"
_PORT = 53

RESOLV_CONF = Path("/etc/resolv.conf")
HOSTS = Path("/etc/hosts")


@dataclass(frozen=True, kw_only=True)
class ResolvConf:
    """Where names are asked for.

    Args:
        servers: addresses, best first; those of IPv6 may end in ``%DEVICE``.
        search: domains to complete short names with, in their order.
        port: where the servers listen; only BSD's and macOS's form of the file can say.
    """

    servers: tuple[str, ...] = (_LOCAL,)
    search: tuple[str, ...] = ()
    port: int = _PORT


def read_resolv_conf(text: str) -> ResolvConf:
    """Read resolv.conf(5); what is not understood is left out, and without a server the host itself is asked."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    port = _PORT
    for line in text.splitlines():
        words = line.split()
        match words:
            case ["nameserver", address, *_] if _is_address(address):
                servers.append(address)
            case ["search" | "domain", *domains]:
                search = tuple(domain.rstrip(".").lower() for domain in domains if _is_domain(domain))
            case ["port", number, *_] if number.isdecimal() and 0 < int(number) < 65536:
                port = int(number)
    return ResolvConf(servers=tuple(servers[:MOST_SERVERS]) or (_LOCAL,), search=search, port=port)


def read_hosts(text: str) -> Mapping[str, tuple[IPv4Address, ...]]:
    """Read hosts(5): the addresses of IPv4 of each name, in lower case; a name with others only has none."""
    found: dict[str, tuple[IPv4Address, ...]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if not names or not _is_address(address):
            continue
        parsed = ip_address(address)
        new = (parsed,) if isinstance(parsed, IPv4Address) else ()
        for name in names:
            key = name.rstrip(".").lower()
            found[key] = tuple(dict.fromkeys((*found.get(key, ()), *new)))
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_domain(text: str) -> bool:
    """Whether it can stand in a resolv.conf of ours; the root alone completes nothing."""
    return text.isascii() and text.isprintable() and text.strip(".") != "" and len(text) < 254
