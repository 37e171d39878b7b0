# SPDX-License-Identifier: Apache-2.0
"""Draws numbers for ports that name none, before the engine does: engines of clones would all draw the same. Pure.

Source of the form: Docker Engine API v1.45, ``POST /containers/create``: ``HostConfig.PortBindings``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cove.host.ports import Protocol

Draw = Callable[[Protocol, str], int]
"""Gives a number that is free on the host, for a protocol and an address, "" for any."""


def with_numbers(body: bytes, draw: Draw) -> bytes:
    """The body of a request that creates a container, with a number for each published port that has none.

    Ports of the image that ``--publish-all`` publishes are not in the request: the engine draws those.

    Args:
        body: as it came; one that is not understood is left to the engine.
        draw: where the numbers come from.
    """
    try:
        config: Any = json.loads(body)
        host = config.get("HostConfig") or {}
        asked = dict(host.get("PortBindings") or {})
        if host.get("PublishAllPorts"):
            asked |= {port: [{}] for port in config.get("ExposedPorts") or {} if not asked.get(port)}
        bindings = {
            port: [_drawn(port, each, draw) for each in found] if found else found
            for port, found in asked.items()
        }
    except (ValueError, AttributeError, TypeError):
        return body
    if bindings == (host.get("PortBindings") or {}):
        return body
    return json.dumps({**config, "HostConfig": {**host, "PortBindings": bindings}}).encode()


def _drawn(port: str, binding: dict[str, Any], draw: Draw) -> dict[str, Any]:
    protocol = port.partition("/")[2] or "tcp"
    if (binding.get("HostPort") or "0") != "0" or protocol not in ("tcp", "udp"):
        return binding
    number = draw("udp" if protocol == "udp" else "tcp", binding.get("HostIp") or "")
    return {**binding, "HostPort": str(number)}
