# SPDX-License-Identifier: Apache-2.0
"""All that runs for a machine beside its supervisor: gvproxy, share daemons, the VMM; they begin and end together."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace

from cove.host.ports import ephemeral_range
from cove.machine.bounds import vmm_bounds
from cove.machine.memory import MemoryFolder
from cove.machine.parts import Network, ShareServer
from cove.machine.plan import LaunchPlan
from cove.spec.shares import kernel_words
from cove.system.files import private_folder
from cove.system.paths import MachinePaths
from cove.system.process import Identity
from cove.vmm.base import Exit, OnConsole, Runtime, Vm, Vmm

log = logging.getLogger("cove.supervisor")

RELAY_PORT = 60998
"""Where the guest agent relays the engine's API, on the outer device only.

What listens in the guest cannot be published by a container (dockerd's proxy wants the port as well), so it is a
number that nobody publishes, below the range that dockerd draws from.
"""

CONTROL_PORT = 60997
"""Where the guest agent takes requests, on the outer device only."""

MTU = 9000
"""Bytes of the largest packet, on every link: four times the throughput of 1500 through gvproxy."""


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
        self.vm: Vm | None = None
        """The guest's VMM, once it was started."""

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
        for folder in (self._paths.net_dir, self._paths.vm_dir):
            private_folder(folder)
        await self._network.start()
        await self._network.expose_unix(self._paths.relay_socket, RELAY_PORT)
        await self._network.expose_unix(self._paths.agent_socket, CONTROL_PORT)
        for share in self._shares:
            await share.start()

    async def start_vm(self, on_console: OnConsole) -> None:
        """Start the guest; returns as soon as its VMM runs."""
        self._memory = MemoryFolder(self._plan.memory_dir, self._paths.root)
        runtime = self._runtime(self._memory)
        command = self._driver.command(self._plan.spec, self._plan.boot, runtime, self._plan.tools)
        bounds = vmm_bounds(self._plan, self._paths, command, runtime.memory_dir)
        log.info("starting %s", " ".join(command.argv))
        self.vm = await self._driver.start(command, replace(runtime, confinement=bounds), on_console)

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
        if self.vm is not None:
            await self.vm.kill()
        await self._network.stop()
        for share in self._shares:
            await share.stop()
        if self._memory is not None:
            self._memory.remove()

    def _runtime(self, memory: MemoryFolder) -> Runtime:
        first, last = ephemeral_range(str(self._paths.root))
        return Runtime(
            folder=self._paths.root,
            net_socket=self._paths.network_socket,
            qmp_socket=self._paths.qmp_socket,
            uml_dir=self._paths.uml_dir,
            console_log=self._paths.console_log,
            memory_dir=memory.path,
            words=(
                f"cove.hostname={self._paths.name}",
                f"cove.ports={first}-{last}",
                *kernel_words(
                    self._plan.spec.shares, self._plan.hidden, mount_type=self._plan.spec.mount_type
                ),
            ),
            shares=tuple(share.socket_path for share in self._shares),
            firmware=self._plan.firmware,
            mtu=MTU,
            host_cpu=self._plan.host_cpu,
            seccomp=sys.platform == "linux",
        )
