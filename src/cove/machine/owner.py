# SPDX-License-Identifier: Apache-2.0
"""A throw-away machine goes with the process that it is for: what its supervisor does about that."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from cove.errors import CoveError
from cove.machine.disks import sweep_layers
from cove.machine.store import Store
from cove.system.paths import Home, MachinePaths
from cove.system.process import Identity

_LOOK_AGAIN = 1.0
"""Seconds between two looks at a process on hosts that cannot tell of its end."""


async def end_of(process: Identity) -> None:
    """Wait for the end of a process that need not be our child (pidfd_open(2) where there is one)."""
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        while process.alive():  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(_LOOK_AGAIN)
        return
    try:
        if not process.alive():  # its number is another's by now
            return
        ended = asyncio.Event()
        loop.add_reader(handle, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(handle)
    finally:
        os.close(handle)


def remove_own(paths: MachinePaths) -> None:
    """Remove an abandoned machine, of which nothing runs any more; the caller holds its lock."""
    store = Store(Home.of(paths))
    with suppress(CoveError):
        store.remove(paths)
        with store.making():
            sweep_layers(store.home)
