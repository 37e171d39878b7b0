# SPDX-License-Identifier: Apache-2.0
"""Wake what waits in containers for files to change: inotify in the guest knows nothing of the host's changes.

The folders of running containers are watched on the host, and the guest's agent is told what changed there. It
touches it, so that the guest's kernel wakes whoever watches: with IN_ATTRIB, and IN_CLOSE_WRITE for files.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cove.errors import CoveError
from cove.guest.client import GuestClient
from cove.host.engine_calls import EngineCalls
from cove.spec.shares import Share, covering, is_below
from cove.system.watch import TreeWatch

log = logging.getLogger("cove.events")

GATHER = 0.05
"""Seconds in which changes are gathered: an editor that saves makes several."""

STALE = 1.1
"""Seconds after which what is gone is told again: for so long the guest may believe that it is there."""

BATCH = 500
"""Paths that the guest is told at once."""

_AGAIN = 1.0
_DEADLINE = 10.0


def bound_folders(
    containers: Iterable[Mapping[str, Any]], shares: Sequence[Share], hidden: Iterable[str]
) -> set[str]:
    """The host's folders and files that containers have, of what the engine says about them. Pure."""
    sources = {
        str(mount.get("Source"))
        for container in containers
        for mount in container.get("Mounts") or []
        if mount.get("Type") == "bind"
    }
    return {
        path
        for path in sources
        if covering(shares, path) is not None and not any(is_below(path, folder) for folder in hidden)
    }


class FileEvents:
    """Tells the guest what changes; see :class:`cove.machine.parts.Companion`.

    Args:
        engine: tells which folders containers have.
        agent: the guest agent's socket.
        shares: what the guest sees of the host.
        hidden: folders in them that it does not.
    """

    def __init__(
        self, engine: EngineCalls, agent: Path, shares: Sequence[Share], hidden: Iterable[str]
    ) -> None:
        self._agent = agent
        self._shares = shares
        self._hidden = tuple(hidden)
        self._engine = engine
        self._pending: dict[str, bool] = {}
        self._something = asyncio.Event()
        self._told_full = False

    async def run(self) -> None:
        """Do it until cancelled."""
        loop = asyncio.get_running_loop()
        watch = TreeWatch()
        loop.add_reader(watch, self._collect, watch)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_for_ever(partial(self._follow, watch)))
                group.create_task(_for_ever(self._tell))
        finally:
            loop.remove_reader(watch)
            watch.close()

    def _collect(self, watch: TreeWatch) -> None:
        self._pending |= watch.changed()
        self._something.set()

    async def _follow(self, watch: TreeWatch) -> None:
        """Watch what running containers have, as they come and go."""
        async for _ in self._engine.events(type=["container"], event=["start", "die"]):
            inspected = [await self._engine.inspect(one) for one in await self._engine.running()]
            roots = bound_folders([one for one in inspected if one], self._shares, self._hidden)
            await asyncio.to_thread(watch.follow, [Path(root) for root in sorted(roots)])
            if watch.full and not self._told_full:
                self._told_full = True
                log.warning(
                    "more folders than can be watched: changes in some will wake nobody in containers"
                )

    async def _tell(self) -> None:
        await self._something.wait()
        await asyncio.sleep(GATHER)
        self._something.clear()
        changes, self._pending = self._pending, {}
        paths = [path for path, there in changes.items() if there]
        for first in range(0, len(paths), BATCH):
            client = GuestClient(self._agent, deadline=_DEADLINE)
            await asyncio.to_thread(partial(client.call, "touch", paths=paths[first : first + BATCH]))
        # the guest may remember the names of what is gone a little longer
        folders = {os.path.dirname(path): True for path, there in changes.items() if not there}  # noqa: PTH120
        if folders:
            asyncio.get_running_loop().call_later(STALE, self._once_more, folders)

    def _once_more(self, folders: Mapping[str, bool]) -> None:
        self._pending |= folders
        self._something.set()


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except CoveError as error:
            log.info("%s", error.message)
            await asyncio.sleep(_AGAIN)
