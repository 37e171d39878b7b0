# SPDX-License-Identifier: Apache-2.0
"""What a supervisor needs of the parts it is given; they do not know each other, nor it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cove.system.process import Identity


class Network(Protocol):
    """What a supervisor needs of :class:`cove.net.gvproxy.Gvproxy`."""

    @property
    def identity(self) -> Identity | None:
        """Its process, once it was started."""

    async def start(self) -> None:
        """Start it; returns when it can be asked for things."""

    async def expose_unix(self, path: Path, guest_port: int) -> None:
        """Let a socket on the host, for its owner only, lead to a port of the guest."""

    def seal(self) -> None:
        """Everything that it is to listen on is there."""

    async def wait(self) -> str:
        """Wait for its end; returns its last words."""

    async def stop(self) -> None:
        """End it; not running is fine."""


class Front(Protocol):
    """What serves the engine's API on the host."""

    async def start(self) -> None:
        """Listen; the guest may not be up yet."""

    async def stop(self) -> None:
        """Listen no more, and close what is open."""


class ShareServer(Protocol):
    """What a supervisor needs of :class:`cove.vmm.virtiofsd.ShareDaemon`."""

    tag: str
    socket_path: Path

    @property
    def identity(self) -> Identity | None:
        """Its process, once it was started."""

    async def start(self) -> None:
        """Start it; the VMM can connect then."""

    def seal(self) -> None:
        """The VMM is connected, and the guest's system runs."""

    async def wait(self) -> str:
        """Wait for its end; returns its last words."""

    async def stop(self) -> None:
        """End it; not running is fine."""


class Companion(Protocol):
    """Work that goes on beside a running machine. One that fails is logged; the machine goes on."""

    async def run(self) -> None:
        """Do it until cancelled; leaves nothing behind then."""


class Idle(Protocol):
    """What suspends a machine in which nothing happens."""

    def set_minutes(self, minutes: int) -> None:
        """Change how long nothing must happen; 0 for ever."""
