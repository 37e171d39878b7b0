# SPDX-License-Identifier: Apache-2.0
"""What containers with the guest's own network (``--network host``) listen on appears at the host's loopback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from cove.guest.relay import LISTENERS, Tunnel
from cove.host.port_table import PortTable
from cove.host.ports import read_listeners

log = logging.getLogger("cove.ports")


class HostNetwork:
    """Follows the guest's news of listeners, as long as there are such containers.

    Args:
        tunnel: the way into the guest.
        table: the ports of the machine.
        tell: called after changes.
    """

    def __init__(self, tunnel: Tunnel, table: PortTable, tell: Callable[[], None]) -> None:
        self._tunnel = tunnel
        self._table = table
        self._tell = tell
        self._containers: set[str] = set()
        self._following: asyncio.Task[None] | None = None

    def add(self, container: str) -> None:
        """A container runs."""
        self._containers.add(container)
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())

    def discard(self, container: str) -> None:
        """A container, of whatever network, runs no more; its ports are the caller's to give back."""
        self._containers.discard(container)
        if not self._containers:
            self.close()

    def close(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            self._following = None

    async def _follow(self) -> None:
        try:
            stream = await self._tunnel.open(LISTENERS)
            try:
                while message := await stream.message():
                    found = read_listeners(message.decode())
                    for container in self._containers:
                        self._table.settle(container, found.get(container, {}))
                    self._tell()
            finally:
                stream.close()
        except (OSError, EOFError, ValueError) as error:
            log.info("what host-network containers listen on is no longer told: %s", error)
