# SPDX-License-Identifier: Apache-2.0
"""All that runs for a machine beside its supervisor: gvproxy, share daemons, the VMM; they begin and end together.

After :meth:`Crew.end` they can begin again, as when a suspended guest goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cove.machine.bounds import vmm_bounds
from cove.machine.memory import MemoryFolder
from cove.machine.parts import Network, ShareServer
from cove.machine.plan import LaunchPlan
from cove.machine.runtimes import runtime_of
from cove.machine.saved.folder import SavedGuest
from cove.system.files import private_folder
from cove.system.paths import MachinePaths
from cove.system.process import Identity
from cove.system.sparse import fill_sparse
from cove.vmm.base import Exit, OnConsole, Ready, Runtime, Vm, Vmm

log = logging.getLogger("cove.supervisor")

RELAY_PORT = 60998
"""Where the guest agent relays the engine's API, on the outer device only.

What listens in the guest cannot be published by a container (dockerd's proxy wants the port as well), so it is a
number that nobody publishes, below the range that dockerd draws from.
"""

CONTROL_PORT = 60997
"""Where the guest agent takes requests, on the outer device only."""


class Crew:
    """The children of one supervisor.

    Args:
        paths: the machine's files.
        plan: what to start.
        driver: who starts the guest.
        network: what carries its packets; not started yet.
        shares: what serves the host's folders to it, in the order of their tags.
    """

    def __init__(
        self,
        paths: MachinePaths,
        plan: LaunchPlan,
        driver: Vmm,
        network: Network,
        shares: Sequence[ShareServer],
    ) -> None:
        self._paths = paths
        self._plan = plan
        self._driver = driver
        self._network = network
        self._shares = shares
        self._memory: MemoryFolder | None = None
        self._loading: asyncio.Future[None] | None = None
        self.memory_file: Path | None = None
        """The file that is the guest's memory, if it is one of ours."""
        self.vm: Vm | None = None
        """The guest's VMM, while there is one."""

    def identities(self) -> dict[str, Identity]:
        """The processes there are, by role."""
        found: dict[str, Identity] = {}
        if self._network.identity is not None:
            found["gvproxy"] = self._network.identity
        for share in self._shares:
            if share.identity is not None:
                found[f"share-{share.tag}"] = share.identity
        if self.vm is not None:
            found["vmm"] = self.vm.identity
        return found

    async def start_services(self) -> None:
        """Start what the VMM connects to: network and shares, with two sockets that lead to the guest's agent."""
        await self._start_network()
        await self._lead_to_agent()
        for share in self._shares:
            await share.start()

    async def _start_network(self) -> None:
        for folder in (self._paths.net_dir, self._paths.vm_dir):
            private_folder(folder)
        await self._network.start()

    async def _lead_to_agent(self) -> None:
        await self._network.expose_unix(self._paths.relay_socket, RELAY_PORT)
        await self._network.expose_unix(self._paths.agent_socket, CONTROL_PORT)
        self._network.seal()  # before any guest can speak to it

    async def start_vm(self, on_console: OnConsole) -> None:
        """Start the guest; returns as soon as its VMM runs."""
        memory = self._prepare_memory(own=self._fast and self._driver.capabilities.suspend)
        await self._start(self._runtime(memory), on_console)

    async def begin_loading(self, saved: SavedGuest, on_console: OnConsole) -> None:
        """Begin what :meth:`load_vm` ends; returns when the VMM was started, or cannot be, which that one says.

        A VMM takes its time to start, in which whoever called this can do other things.
        """
        started = asyncio.Event()
        self._loading = asyncio.ensure_future(self._load(saved, on_console, started.set))
        waiting = asyncio.ensure_future(started.wait())
        await asyncio.wait({self._loading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def load_vm(self, saved: SavedGuest, on_console: OnConsole) -> None:
        """Start services and the VMM, and load a saved guest, which is paused then.

        Raises:
            MachineError: it cannot be loaded.
            CoveError: something cannot be started, or there is no room for the guest's memory.
        """
        loading, self._loading = self._loading, None
        await (loading or self._load(saved, on_console))

    async def _load(
        self, saved: SavedGuest, on_console: OnConsole, started: Callable[[], None] = lambda: None
    ) -> None:
        apart = saved.memory.exists()
        private = apart and self._plan.private
        memory = self._prepare_memory(own=not private and (apart or self._fast))
        filling = asyncio.create_task(self._fill(saved.memory) if apart and not private else asyncio.sleep(0))
        try:
            await self._start_network()
            for share in self._shares:
                await share.start()
            runtime = replace(self._runtime(memory), incoming=saved.devices, incoming_memory=not apart)
            if private:
                runtime = replace(runtime, memory_file=saved.memory, memory_private=True)

            async def ready() -> None:
                started()
                await asyncio.gather(filling, self._lead_to_agent())

            await self._start(runtime, on_console, ready)
            self.hide_memory()
            self.seal()  # it has opened all that it opens, and the guest does not run yet
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)

    def hide_memory(self) -> None:
        """To be called once the VMM has opened the guest's memory: it ends with us then, however we end."""
        if self._memory is not None and self.memory_file is not None and Path("/proc/self/fd").is_dir():
            self.memory_file = self._memory.hide_file()

    def seal(self) -> None:
        """The guest has booted and is about to run what nobody has checked: nobody gets more than he has."""
        if self.vm is not None:
            self.vm.seal()
        for share in self._shares:
            share.seal()

    async def first_end(self) -> str:
        """Wait until the VMM, gvproxy or a share daemon ends; returns why, for people."""
        assert self.vm is not None  # noqa: S101  (it is started before anyone waits)
        vm = asyncio.ensure_future(self.vm.wait())
        others = {asyncio.ensure_future(self._network.wait()): "gvproxy"}
        others |= {asyncio.ensure_future(share.wait()): f"the share {share.tag}" for share in self._shares}
        try:
            await asyncio.wait({vm, *others}, return_when=asyncio.FIRST_COMPLETED)
            if vm.done():
                return vm.result().reason
            return next(f"{name} ended: {task.result()}" for task, name in others.items() if task.done())
        finally:
            for task in (vm, *others):
                task.cancel()

    async def vm_end(self, seconds: float) -> Exit | None:
        """How the VMM ended, or None when it still runs after that time."""
        assert self.vm is not None  # noqa: S101
        try:
            return await asyncio.wait_for(self.vm.wait(), seconds)
        except TimeoutError:
            return None

    async def end(self) -> None:
        """End what still runs, and give the guest's memory back; nothing running is fine."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
            self._loading = None
        if self.vm is not None:
            await self.vm.kill()
            self.vm = None
        await self._network.stop()
        for share in self._shares:
            await share.stop()
        if self._memory is not None:
            self._memory.remove()
            self._memory = None
        self.memory_file = None

    @property
    def _fast(self) -> bool:
        # a file on a disk would be written back all the time: such a guest's memory is written when it is suspended
        return self._plan.memory_dir != self._paths.vm_dir

    def _prepare_memory(self, *, own: bool) -> Path:
        self._memory = MemoryFolder(self._plan.memory_dir, self._paths.root)
        if own:
            self.memory_file = self._memory.make_file(self._plan.spec.memory)
        return self._memory.path

    async def _fill(self, source: Path) -> None:
        if self.memory_file is not None:
            await asyncio.to_thread(fill_sparse, source, self.memory_file)

    def _runtime(self, memory: Path) -> Runtime:
        return runtime_of(
            self._paths,
            self._plan,
            memory_dir=memory,
            memory_file=self.memory_file,
            shares=[share.socket_path for share in self._shares],
        )

    async def _start(self, runtime: Runtime, on_console: OnConsole, ready: Ready | None = None) -> None:
        command = self._driver.command(self._plan.spec, self._plan.boot, runtime, self._plan.tools)
        saved = [path for path in (runtime.incoming, runtime.memory_private and runtime.memory_file) if path]
        bounds = vmm_bounds(self._plan, self._paths, command, runtime.memory_dir, saved)
        log.info("starting %s", " ".join(command.argv))
        self.vm = await self._driver.start(command, replace(runtime, confinement=bounds), on_console, ready)
