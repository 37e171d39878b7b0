# SPDX-License-Identifier: Apache-2.0
"""What carries bytes into the guest, and what a listener does with its sockets, whatever the protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from cove.host.ports import Target


class Stream(Protocol):
    """One connection into the guest; see :class:`cove.guest.relay.Stream`."""

    async def read(self) -> bytes:
        """The next bytes, or none at the end."""

    async def message(self) -> bytes:
        """The next message, whole, or none at the end."""

    async def write(self, data: bytes) -> None:
        """Send a piece, which is one message."""

    async def end(self) -> None:
        """Nothing more will be sent."""

    def close(self) -> None:
        """Hang up."""


Dial = Callable[[Target], Awaitable[Stream]]
"""Makes a connection to a target in the guest."""


def give_back(listener: socket.socket) -> None:
    """Close a socket on which a task waits; its number may be used again before that task learns of it."""
    if listener.fileno() >= 0:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.remove_writer(listener)
        listener.close()
