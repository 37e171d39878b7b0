# SPDX-License-Identifier: Apache-2.0
"""The proxies of this host, as the guest has to be told of them. Pure.

The variables, and that the upper case counts before the lower, are those of Go's ``golang.org/x/net/http/httpproxy``,
which docker's programs use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

GUEST_NAME_OF_HOST = "host.docker.internal"
"""By this name the guest, and every container, reaches what this host has on its loopback."""

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

NEVER = (".docker.internal",)
"""Names that no proxy can know."""


@dataclass(frozen=True)
class Proxies:
    """Where to send requests instead of to their goal.

    Args:
        http: for http; "" for nowhere else.
        https: for https.
        no: names, domains and networks that are reached directly, with commas between them.
    """

    http: str = ""
    https: str = ""
    no: str = ""

    def __bool__(self) -> bool:
        return bool(self.http or self.https)


def from_environment(env: Mapping[str, str]) -> Proxies:
    """What the environment says."""

    def value(name: str) -> str:
        return env.get(name.upper()) or env.get(name) or ""

    return Proxies(http=value("http_proxy"), https=value("https_proxy"), no=value("no_proxy"))


def for_guest(proxies: Proxies) -> Proxies:
    """The same, as the guest reaches them: those on this host's loopback by another name."""
    if not proxies:
        return Proxies()
    direct = [part.strip() for part in proxies.no.split(",") if part.strip()]
    return Proxies(
        http=reachable(proxies.http),
        https=reachable(proxies.https),
        no=",".join(dict.fromkeys((*direct, *NEVER))),
    )


def reachable(url: str) -> str:
    """An address of this host's loopback as the guest reaches it; any other address as it is.

    Args:
        url: with or without a scheme, a user and a password; what is no URL is left alone.
    """
    scheme, separator, rest = url.rpartition("://")
    parts = _split(rest)
    if parts is None or parts.hostname is None or not is_loopback(parts.hostname):
        return url
    user, at, _ = parts.netloc.rpartition("@")
    port = parts.port
    place = f"{user}{at}{GUEST_NAME_OF_HOST}" + (f":{port}" if port is not None else "")
    return scheme + separator + place + rest[len(parts.netloc) :]


def address_of(url: str) -> tuple[str, int] | None:
    """Host and port of a proxy; None for what is no URL of one.

    Args:
        url: with or without a scheme, which is http then, as Go reads it.
    """
    scheme, separator, rest = url.rpartition("://")
    parts = _split(rest)
    known = _PORTS.get(scheme if separator else "http")
    host = parts.hostname if parts else None
    if parts is None or known is None or not host or " " in host:
        return None
    return host, parts.port or known


def without_secret(url: str) -> str:
    """The same without user and password, for people and logs."""
    scheme, separator, rest = url.rpartition("://")
    place, slash, path = rest.partition("/")
    return scheme + separator + place.rpartition("@")[2] + slash + path


def _split(rest: str) -> SplitResult | None:
    """What follows the scheme, taken apart; None for what cannot be, wrong ports among it."""
    try:
        parts = urlsplit(f"//{rest}")
        parts.port  # noqa: B018  (it is read when asked for)
    except ValueError:
        return None
    return parts


def is_loopback(host: str) -> bool:
    """Whether a name or address is this host's loopback, or all of its addresses."""
    if host.lower().rstrip(".") in ("localhost", "localhost.localdomain"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def variables(proxies: Proxies) -> dict[str, str]:
    """The environment of a program that shall use them; programs differ in the case that they look for."""
    found: dict[str, str] = {}
    for name, value in (
        ("http_proxy", proxies.http),
        ("https_proxy", proxies.https),
        ("no_proxy", proxies.no),
    ):
        if value:
            found |= {name.upper(): value, name: value}
    return found
