# SPDX-License-Identifier: Apache-2.0
"""Ask the network: name servers, proxies, Debian's archive. Only what the user allowed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import replace

from cove.debian.downloads import Mirrors, Patience
from cove.debian.mirrors import default_mirrors
from cove.errors import CoveError
from cove.events import silent
from cove.host.names.ask import ask
from cove.machine.doctor.facts import Names

_SUITE = "trixie"
_LIMIT = 1 << 20
_CONNECT = 3.0
_PATIENCE = Patience(connect=_CONNECT, stall=5.0, attempts=1)
_TYPE_NS, _CLASS_IN = 2, 1
_QUERY = (
    # number, "recursion desired", one question: the name servers of the root, which every server knows or can ask for
    b"\xc0\x7e\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00" + _TYPE_NS.to_bytes(2) + _CLASS_IN.to_bytes(2)
)


def asked(names: Names, port: int) -> Names:
    """The same, with those name servers that do not answer."""
    return replace(names, silent=asyncio.run(_silent(names.servers, port)))


def connection_trouble(host: str, port: int) -> str:
    """Why nobody can be reached at an address over TCP; "" if somebody can."""
    try:
        with socket.create_connection((host, port), timeout=_CONNECT):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def archive_trouble(env: Mapping[str, str], config: Mapping[str, object]) -> str:
    """Why no mirror of the archive gives its InRelease; "" if one does."""
    from cove.debian.fetch import Fetcher

    try:
        mirrors = default_mirrors(env, config)
    except CoveError as error:
        return error.message

    async def first() -> str:
        troubles = []
        async with Fetcher(Mirrors(mirrors), patience=_PATIENCE, report=silent) as fetcher:
            for mirror in mirrors:
                try:
                    path = f"dists/{_SUITE}/InRelease"
                    await fetcher.small(mirror, _SUITE, path, validators={}, limit=_LIMIT)
                except CoveError as error:
                    troubles.append(error.details or error.message)
                else:
                    return ""
        return "\n".join(troubles)

    return asyncio.run(first())


async def _silent(servers: tuple[str, ...], port: int) -> tuple[str, ...]:
    answers = await asyncio.gather(*(ask([server], port, _QUERY, stream=False) for server in servers))
    return tuple(server for server, answer in zip(servers, answers, strict=True) if answer is None)
