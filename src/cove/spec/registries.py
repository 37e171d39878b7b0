# SPDX-License-Identifier: Apache-2.0
"""Registries that a machine's engine treats in its own way: without TLS, or before Docker Hub. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import urlsplit

from cove.errors import UsageError

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(:\d{1,5})?")


@dataclass(frozen=True, kw_only=True)
class Registries:
    """What ``--insecure-registry`` and ``--registry-mirror`` said.

    Args:
        insecure: hosts with or without a port, or networks ("10.0.0.0/8"); plain http, or https unchecked.
        mirrors: addresses of mirrors of Docker Hub, in the order in which to ask them.
    """

    insecure: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()

    def plus(self, other: Registries) -> Registries:
        """Both, each once."""
        return Registries(
            insecure=tuple(dict.fromkeys((*self.insecure, *other.insecure))),
            mirrors=tuple(dict.fromkeys((*self.mirrors, *other.mirrors))),
        )


NO_REGISTRIES = Registries()
"""The engine treats all of them in its usual way."""


def read_registries(insecure: Sequence[object], mirrors: Sequence[object]) -> Registries:
    """Check what was given, as dockerd would.

    Raises:
        UsageError: some are of another form; all are named.
    """
    problems = [
        f"{text!r} is not an insecure registry: give HOST, HOST:PORT or a network such as 10.0.0.0/8"
        for text in insecure
        if not (isinstance(text, str) and (_HOST.fullmatch(text) or _is_network(text)))
    ]
    problems += [
        f"{text!r} is not the address of a mirror: give https://HOST or http://HOST:PORT, without a user and a path"
        for text in mirrors
        if not (isinstance(text, str) and _is_mirror(text))
    ]
    if problems:
        raise UsageError("registries that cannot be used", details="\n".join(problems))
    return Registries(
        insecure=tuple(dict.fromkeys(map(str, insecure))),
        mirrors=tuple(dict.fromkeys(str(one).rstrip("/") for one in mirrors)),
    )


def read_recorded(value: object) -> Registries:
    """The recorded form: an object with ``insecure`` and ``mirrors``.

    Raises:
        UsageError: it has another shape.
    """
    if not isinstance(value, dict) or set(value) != {"insecure", "mirrors"}:
        raise UsageError(f"registries: {value!r} is not an object with insecure and mirrors")
    if not all(isinstance(part, list | tuple) for part in value.values()):
        raise UsageError(f"registries: {value!r} does not hold lists")
    return read_registries(value["insecure"], value["mirrors"])


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _is_mirror(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and port_is_fine
        and _HOST.fullmatch(parts.netloc) is not None
        and not parts.path.strip("/")
        and not parts.query
        and not parts.fragment
    )
