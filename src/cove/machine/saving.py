# SPDX-License-Identifier: Apache-2.0
"""Write a running guest to the disk: frozen, paused, written, compared, loaded on trial, and only then named.

Until the name is given the guest can go on as if nothing had happened, whatever fails.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

from cove.errors import CoveError, DeadlineError, GuestError, MachineError
from cove.guest.client import GuestClient
from cove.machine.crew import Crew
from cove.machine.plan import LaunchPlan
from cove.machine.saved.folder import SavedGuest, describe_guest
from cove.machine.share_holders import LostFiles
from cove.machine.trial import Trial
from cove.system.files import storage_errors
from cove.system.paths import MachinePaths
from cove.system.sparse import copy_sparse, same_contents, sync_file
from cove.vmm.base import Vm, Vmm

log = logging.getLogger("cove.supervisor")

FREEZE = 30.0
"""Seconds of the guest's own time, which stands still while it is paused, until its disk can be written again."""

_FREEZE_DEADLINE = 60.0


class Saving:
    """Saves the guest of one machine.

    Args:
        paths: the machine's files.
        plan: what its VMM was started with.
        driver: who started it.
        crew: what runs for it.
        trial: tries what was written.
        lost: explains failures of machines with shares.
    """

    def __init__(
        self,
        paths: MachinePaths,
        plan: LaunchPlan,
        driver: Vmm,
        crew: Crew,
        trial: Trial,
        lost: LostFiles | None = None,
    ) -> None:
        self._paths = paths
        self._plan = plan
        self._driver = driver
        self._crew = crew
        self._trial = trial
        self._lost = lost

    async def save(self, target: SavedGuest) -> None:
        """Write the guest to ``target``, which is whole and durable then; the guest is paused.

        When this fails nothing is left of it, and :meth:`go_on` lets the guest go on.

        Raises:
            StorageError: there is no room.
            MachineError, GuestError, DeadlineError: guest or VMM did not do their part.
        """
        vm = self._running()
        client = GuestClient(self._paths.agent_socket, deadline=_FREEZE_DEADLINE)
        if self._lost is not None:
            self._lost.begin()
            # the guest need not know files that nobody uses there; some may be gone from the host
            await asyncio.to_thread(partial(client.call, "forget"))
        # what is on the disk is whole then, should the saved guest ever be lost
        await asyncio.to_thread(partial(client.call, "freeze", seconds=FREEZE))
        with target.writing() as scratch:
            # the VMM may write to its own folder alone
            written = self._paths.vm_dir / "devices"
            written.unlink(missing_ok=True)
            try:
                await vm.save(written)
                await asyncio.to_thread(self._collect, scratch)
            finally:
                written.unlink(missing_ok=True)
            await self._trial.load(scratch)

    async def go_on(self, *, stands: bool = False) -> None:
        """Let a guest go on that was paused or frozen by a :meth:`save` that failed.

        Args:
            stands: it cannot, since its disk has no room; it will thaw by itself.

        Raises:
            MachineError: it cannot.
        """
        await self._running().go_on()
        if stands:
            return
        client = GuestClient(self._paths.agent_socket, deadline=_FREEZE_DEADLINE)
        try:
            await asyncio.to_thread(partial(client.call, "thaw"))
        except (GuestError, DeadlineError) as error:
            log.warning("the guest's disk can be written again in %.0f s: %s", FREEZE, error.message)

    async def explain(self, failure: Exception) -> CoveError:
        """Why a :meth:`save` failed, for whoever asked for it; the guest has gone on."""
        if not isinstance(failure, CoveError):
            failure = MachineError(f"the guest could not be saved: {type(failure).__name__}: {failure}")
        return failure if self._lost is None else await self._lost.explain(failure)

    def _collect(self, scratch: SavedGuest) -> None:
        """Put all that belongs to the guest into the scratch folder, compared with what it is a copy of."""
        with storage_errors("writing the guest"):
            (self._paths.vm_dir / "devices").rename(scratch.devices)
            if self._crew.memory_file is not None:
                copy_sparse(self._crew.memory_file, scratch.memory, skip_zeroes=True, sync=True)
                if not same_contents(self._crew.memory_file, scratch.memory):
                    raise MachineError("the guest's memory was not written as it is")
            sync_file(self._plan.boot.data)
        scratch.seal(describe_guest(self._driver, self._plan, created=time.time()))

    def _running(self) -> Vm:
        if self._crew.vm is None:
            raise MachineError(f"{self._paths.name} does not run")
        return self._crew.vm
