# SPDX-License-Identifier: Apache-2.0
"""The gate between the clients on the host and the guest: closed while the guest sleeps; who comes wakes it."""

from __future__ import annotations

import asyncio


class Gate:
    """Open at first. Clients pass it before each connection that they make to the guest."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._settled = asyncio.Event()
        self._settled.set()
        self._knock = asyncio.Event()
        self._shut = False

    @property
    def closed(self) -> bool:
        """Whether the guest sleeps."""
        return not self._open.is_set()

    def close(self) -> None:
        """The guest sleeps: whoever comes waits from now on."""
        self._open.clear()
        self._settled.clear()
        self._knock.clear()

    def open(self) -> None:
        """The guest can be reached: let everyone in."""
        self._open.set()

    def settle(self) -> None:
        """The guest runs as it did before it slept."""
        self._settled.set()

    def shut(self) -> None:
        """There is no guest any more: turn everyone away."""
        self._shut = True
        self._open.set()
        self._settled.set()

    def knock(self) -> None:
        """Wake the guest."""
        self._knock.set()

    async def knocked(self) -> None:
        """Wait until somebody wants to come in."""
        await self._knock.wait()

    async def passed(self) -> None:
        """Come in; wakes the guest, and waits until it can be reached.

        Raises:
            ConnectionRefusedError: there is no guest any more.
        """
        await self._wait(self._open)

    async def awake(self) -> None:
        """Wake the guest, and wait until all is as it was before it slept.

        Raises:
            ConnectionRefusedError: there is no guest any more.
        """
        await self._wait(self._settled)

    async def _wait(self, event: asyncio.Event) -> None:
        if self.closed:
            self.knock()
        await event.wait()
        if self._shut:
            raise ConnectionRefusedError("the machine has ended")
