# SPDX-License-Identifier: Apache-2.0
"""A guest that its VMM has stopped because the host's disk is full goes on when there is room; nothing is lost.

The guest itself learns nothing: to tell it of a failed write would cost it its file system until the next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from cove.errors import MachineError, StorageError
from cove.system.files import STORAGE_HINT
from cove.system.room import room_of
from cove.units import MIB
from cove.vmm.base import Vm

log = logging.getLogger("cove.supervisor")

ENOUGH = 16 * MIB
"""Bytes that have to be free before the guest may try again; it would be stopped again at once with fewer."""

_LOOK = 1.0
"""Seconds between two looks; no event tells that a disk has room again."""


class RoomKeeper:
    """A companion of one running guest.

    Args:
        disk: its disk's folder on the host.
        tell: told why the guest stands still, and "" when it goes on.
    """

    def __init__(self, disk: Path, tell: Callable[[str], None]) -> None:
        self._disk = disk
        self._tell = tell
        self._standing = asyncio.Event()

    @property
    def stands(self) -> bool:
        """Whether the guest stands still."""
        return self._standing.is_set()

    @property
    def reason(self) -> str:
        """That it stands still, for people; "" when it does not."""
        return f"it stands still until there is room on the disk at {self._disk}" if self.stands else ""

    def error(self) -> StorageError:
        """Why nothing can be done with the guest while it stands still."""
        return StorageError(
            "the guest stands still: there is no room for what it writes: No space left on device",
            details=room_of(self._disk),
            hint=STORAGE_HINT,
        )

    async def standing(self) -> None:
        """Wait until the guest stands still."""
        await self._standing.wait()

    async def keep(self, vm: Vm) -> None:
        """Watch a guest until cancelled."""
        try:
            while True:
                await vm.stalled()
                self._standing.set()
                log.warning("the guest stands still until its disk has room: %s", room_of(self._disk))
                self._tell(self.reason)
                while self._room() < ENOUGH:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK)
                await vm.go_on()
                self._standing.clear()
                log.info("the guest goes on")
                self._tell("")
        finally:
            self._standing.clear()

    def _room(self) -> int:
        space = os.statvfs(self._disk)
        return space.f_bavail * space.f_frsize


class Watching:
    """The companion itself: watches one guest.

    Args:
        keeper: knows how it is.
        vm: the guest.
    """

    def __init__(self, keeper: RoomKeeper, vm: Vm) -> None:
        self._keeper = keeper
        self._vm = vm

    async def run(self) -> None:
        """Until cancelled, or until its VMM ends, which others tell of."""
        try:
            await self._keeper.keep(self._vm)
        except MachineError as error:
            log.info("the guest's disk is watched no more: %s", error.message)
