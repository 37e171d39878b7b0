# SPDX-License-Identifier: Apache-2.0
"""The host's proxies for containers, as docker's CLI gives them: as variables, unless the user set others. Pure.

Docker's CLI takes them from ``proxies`` in config.json, for containers that it creates and for builds. What is said
there about the host's loopback means nothing in a container; it is put right on its way to the engine.

Sources: docs.docker.com/engine/cli/proxy; Docker Engine API v1.45, POST /containers/create (Env).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cove.host.proxies import Proxies, reachable, variables

_KEYS = ("httpProxy", "httpsProxy", "ftpProxy", "allProxy")
_KEY = "proxies"


def of_the_loopback(config: str) -> dict[str, str]:
    """The proxies in a config.json that are on the host's loopback, each with the same as containers reach it."""
    return {value: reachable(value) for value in _values(_read(config)) if reachable(value) != value}


def amended_creation(body: bytes, proxies: Proxies, known: Mapping[str, str]) -> bytes:
    """The body of a request that creates a container, with the proxies that it lacks; as it is if it lacks none.

    Args:
        body: as it came.
        proxies: as containers reach them; a variable that is set, in either case, counts instead.
        known: values to put right; see :func:`of_the_loopback`. Others that look alike may be meant as they are.
    """
    try:
        config: Any = json.loads(body)
        present = config.get("Env") or []
        if not isinstance(present, list) or not all(isinstance(one, str) for one in present):
            return body
    except (ValueError, AttributeError, TypeError):
        return body  # the engine will say what is wrong with it
    env = [_put_right(one, known) for one in present]
    named = {one.partition("=")[0].upper() for one in present}
    env += [f"{name}={value}" for name, value in variables(proxies).items() if name.upper() not in named]
    if env == present:
        return body
    return json.dumps({**config, "Env": env}).encode()


def amended_config(config: str | None, proxies: Proxies) -> str | None:
    """A config.json in which the proxies are those that containers and builds reach.

    Args:
        config: the user's, if there is one.
        proxies: as containers reach them, for a user who has named none.

    Returns:
        the text, or None if the user's own is right.
    """
    present = _read(config or "{}")
    if present is None:
        return None  # docker will say what is wrong with it
    if isinstance(present.get(_KEY), dict) and present[_KEY]:
        if not of_the_loopback(config or ""):
            return None
        return json.dumps({**present, _KEY: _all_put_right(present[_KEY])})
    if not proxies:
        return None
    pairs = (("httpProxy", proxies.http), ("httpsProxy", proxies.https), ("noProxy", proxies.no))
    return json.dumps({**present, _KEY: {"default": {key: value for key, value in pairs if value}}})


def _put_right(variable: str, known: Mapping[str, str]) -> str:
    name, equals, value = variable.partition("=")
    if not name.upper().endswith("_PROXY") or value not in known:
        return variable
    return name + equals + known[value]


def _all_put_right(proxies: Mapping[str, Any]) -> dict[str, Any]:
    return {
        host: {
            key: reachable(value) if key in _KEYS and isinstance(value, str) else value
            for key, value in entry.items()
        }
        if isinstance(entry, dict)
        else entry
        for host, entry in proxies.items()
    }


def _values(config: dict[str, Any] | None) -> Iterator[str]:
    proxies = (config or {}).get(_KEY)
    for entry in proxies.values() if isinstance(proxies, dict) else ():
        if isinstance(entry, dict):
            yield from (entry[key] for key in _KEYS if isinstance(entry.get(key), str))


def _read(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
