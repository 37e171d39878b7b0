# SPDX-License-Identifier: Apache-2.0
"""Keep share daemons from running out of file descriptors.

virtiofsd keeps a descriptor for every file that the guest's kernel remembers, and that remembers all it ever saw
until it needs the memory. A tree of more files than the user may have open would make the share fail from then on,
so the guest is told to forget in time. Nothing tells how many they are: we look, as often as a fast guest needs.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cove.errors import DeadlineError, GuestError
from cove.guest.client import GuestClient
from cove.system.process import Identity

log = logging.getLogger("cove.shares")

FULL = 0.4
"""The part of the descriptors at which the guest shall forget."""

_RATE = 48_000
"""Files that a guest can look up in a second, twice over."""

_FASTEST, _SLOWEST = 0.1, 5.0
_FORGET_DEADLINE = 20.0


def interval(limit: int) -> float:
    """Seconds between two looks so that a daemon with ``limit`` descriptors cannot run out in between. Pure."""
    return min(_SLOWEST, max(_FASTEST, (1 - FULL) * limit / _RATE))


def count_descriptors(pid: int, proc: Path = Path("/proc")) -> int:
    """How many descriptors a process has; 0 if it is gone."""
    folder = proc / str(pid) / "fd"
    try:
        # since Linux 6.2 the folder's size says it
        return folder.stat().st_size or len(os.listdir(folder))  # noqa: PTH208  (one call, no objects)
    except OSError:
        return 0


class ShareKeeper:
    """Watches the share daemons of one machine; see :class:`cove.machine.parts.Companion`.

    Args:
        agent: the guest agent's socket.
        processes: gives the daemons that run.
        limit: how many descriptors each may have.
    """

    def __init__(self, agent: Path, processes: Callable[[], Sequence[Identity]], limit: int) -> None:
        self._agent = agent
        self._processes = processes
        self._limit = limit

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(interval(self._limit))
            if any(count_descriptors(one.pid) > FULL * self._limit for one in self._processes()):
                await self._forget()

    async def _forget(self) -> None:
        client = GuestClient(self._agent, deadline=_FORGET_DEADLINE)
        try:
            await asyncio.to_thread(partial(client.call, "forget"))
        except (GuestError, DeadlineError) as error:
            log.warning("the guest could not be told to forget files: %s", error.message)
            await asyncio.sleep(_SLOWEST)
