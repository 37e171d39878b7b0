# SPDX-License-Identifier: Apache-2.0
"""Let a machine's saved guest go on: load it, take its name away, wake it, and end what it was connected to."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from functools import partial

from cove.errors import DeadlineError, GuestError, MachineError
from cove.guest.client import GuestClient
from cove.machine.crew import Crew
from cove.machine.saved.folder import SavedGuest
from cove.system.files import remove_tree
from cove.system.paths import MachinePaths
from cove.vmm.base import OnConsole

log = logging.getLogger("cove.supervisor")

_WAKE_DEADLINE = 60.0
_CUT_DEADLINE = 60.0
_PATIENCE = 1.0
_SEED = 64
"""Bytes of the host's randomness for the guest."""


async def wake(paths: MachinePaths, crew: Crew, on_console: OnConsole, opened: Callable[[], None]) -> None:
    """Let the machine's saved guest go on; its clock, random numbers and disk are right when this returns.

    Args:
        paths: the machine's files.
        crew: what runs for it.
        on_console: gets the console's lines.
        opened: told as soon as the guest runs and can be reached, before its clock is right; of a clone, when it has
            become a machine of its own.

    Raises:
        MachineError: it cannot be loaded, or went on and does not answer. Only in the second case the saved guest
            is gone, because the guest may have changed its disk.
        CoveError: something cannot be started.
    """
    guest = SavedGuest(paths.saved)
    is_clone = guest.read().plan.spec.name != paths.name
    await crew.load_vm(guest, on_console)
    assert crew.vm is not None  # noqa: S101  (just started)
    guest.consume()
    await crew.vm.go_on()
    if not is_clone:
        opened()
    client = GuestClient(paths.agent_socket, deadline=_WAKE_DEADLINE)
    words: dict[str, object] = {"entropy": os.urandom(_SEED).hex()}
    if is_clone:
        words["hostname"] = paths.name
    try:
        await asyncio.to_thread(partial(client.call, "wake", seconds=time.time(), **words))
    except (GuestError, DeadlineError) as error:
        raise MachineError(
            f"{paths.name} went on and does not answer: {error.message}",
            hint=f"cove start {paths.name} boots it; what was written to its disk is there.",
            log=paths.console_log,
        ) from error
    if is_clone:
        opened()  # not before it is another machine


class Aftermath:
    """What can wait until a guest has gone on: a companion that ends by itself.

    It removes what was left of the saved guest, and ends the guest's connections to the outside.

    Args:
        paths: the machine's files.
    """

    def __init__(self, paths: MachinePaths) -> None:
        self._paths = paths

    async def run(self) -> None:
        """Do it, once whoever woke the guest was served."""
        await asyncio.sleep(_PATIENCE)
        await asyncio.to_thread(remove_tree, SavedGuest(self._paths.saved).used)
        client = GuestClient(self._paths.agent_socket, deadline=_CUT_DEADLINE)
        try:
            ended = await asyncio.to_thread(partial(client.call, "cut"))
            log.info("connections of the guest that led outside and were ended: %s", ended["ended"])
        except (GuestError, DeadlineError) as error:
            log.warning("the guest's old connections were not ended: %s", error.message)
