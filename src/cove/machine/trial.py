# SPDX-License-Identifier: Apache-2.0
"""Load a saved guest into a second VMM, which is ended before the guest runs: what loads now will load later.

The exit status of the one who wrote it proves nothing. The second VMM does not open the data disk for writing, has no
network, and maps the saved memory without changing it; where share daemons need it writable it gets a copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from cove.machine.bounds import vmm_bounds
from cove.machine.memory import MemoryFolder, trial_folder
from cove.machine.parts import ShareServer
from cove.machine.plan import LaunchPlan
from cove.machine.runtimes import runtime_of
from cove.machine.saved.folder import SavedGuest
from cove.system.files import private_folder, remove_tree
from cove.system.paths import MachinePaths
from cove.system.sparse import fill_sparse
from cove.vmm.base import Runtime, Vmm


class Trial:
    """Tries saved guests of one machine.

    Args:
        paths: the machine's files.
        plan: what its VMM was started with.
        driver: who starts it.
        shares: share daemons of the same folders, for the second VMM alone; not started yet.
    """

    def __init__(
        self, paths: MachinePaths, plan: LaunchPlan, driver: Vmm, shares: Sequence[ShareServer]
    ) -> None:
        self._paths = paths
        self._plan = plan
        self._driver = driver
        self._shares = shares

    async def load(self, guest: SavedGuest) -> None:
        """Load it; nothing is left running, whatever comes of it.

        Raises:
            MachineError: it cannot be loaded.
            CoveError: something cannot be started.
        """
        folder = private_folder(trial_folder(self._paths))
        async with AsyncExitStack() as stack:
            stack.callback(remove_tree, folder)
            for share in self._shares:
                stack.push_async_callback(share.stop)
                await share.start()
            runtime = await self._runtime(guest, folder, stack)
            command = self._driver.command(self._plan.spec, self._plan.boot, runtime, self._plan.tools)
            reads = [path for path in (guest.devices, guest.memory) if path.exists()]
            bounds = vmm_bounds(self._plan, self._paths, command, runtime.memory_dir, reads)
            vm = await self._driver.start(command, replace(runtime, confinement=bounds), _ignore)
            await vm.kill()

    async def _runtime(self, guest: SavedGuest, folder: Path, stack: AsyncExitStack) -> Runtime:
        memory_dir, memory_file = folder, guest.memory if guest.memory.exists() else None
        if memory_file is not None and self._shares:
            memory = MemoryFolder(self._plan.memory_dir, folder)
            stack.callback(memory.remove)
            memory_dir, memory_file = memory.path, memory.make_file(self._plan.spec.memory)
            await asyncio.to_thread(fill_sparse, guest.memory, memory_file)
        whole = runtime_of(
            self._paths,
            self._plan,
            memory_dir=memory_dir,
            memory_file=memory_file,
            shares=[share.socket_path for share in self._shares],
        )
        return replace(
            whole,
            net_socket=folder / "n",  # where nobody listens
            qmp_socket=folder / "q",
            console_log=folder / "console",
            memory_private=memory_file is not None and not self._shares,
            incoming=guest.devices,
            incoming_memory=not guest.memory.exists(),
        )


def _ignore(_line: str) -> None:
    """Takes the console of a guest that does not run."""
