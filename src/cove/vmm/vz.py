# SPDX-License-Identifier: Apache-2.0
"""The driver vz: Apple's Virtualization.framework, through vfkit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cove.errors import MachineError
from cove.spec.machine import Driver, MachineSpec
from cove.system.process import Command
from cove.vmm.base import BootFiles, Capabilities, OnConsole, Ready, Runtime, Vm, cannot_suspend, unsupported
from cove.vmm.process_vm import start_process
from cove.vmm.vfkit_argv import vz_command
from cove.vmm.vfkit_rest import change_state

log = logging.getLogger("cove.vz")

_RESETS = ("Kernel panic - not syncing", "reboot: Restarting system")
"""The kernel's last words before a reset, which Virtualization.framework would answer with another boot."""


class Vz:
    """Runs machines in Virtualization.framework; see :class:`cove.vmm.base.Vmm`.

    The power button is the framework's request to stop; whether a guest hears it is its kernel's business.
    """

    name: Driver = "vz"
    capabilities = Capabilities(accels=("none",), smp=True, power_button=True)

    def needs(self, spec: MachineSpec) -> tuple[str, ...]:  # noqa: ARG002
        """The group with vfkit."""
        return ("vz",)

    def command(
        self, spec: MachineSpec, boot: BootFiles, runtime: Runtime, tools: Mapping[str, Command]
    ) -> Command:
        """The whole command line; see :func:`cove.vmm.vfkit_argv.vz_command`."""
        return vz_command(spec, boot, runtime, tools)

    async def start(
        self,
        command: Command,
        runtime: Runtime,
        on_console: OnConsole,
        ready: Ready | None = None,  # noqa: ARG002
    ) -> Vm:
        """Start vfkit; it ends with its machine. A socket that a dead one left is replaced."""
        if runtime.incoming is not None:
            raise cannot_suspend(self.name)
        runtime.qmp_socket.unlink(missing_ok=True)
        ends: set[asyncio.Task[None]] = set()

        def watch(line: str) -> None:
            on_console(line)
            if any(words in line for words in _RESETS):
                ends.add(asyncio.ensure_future(_hard_stop(runtime.qmp_socket)))

        button = partial(change_state, runtime.qmp_socket, "Stop")
        return await start_process(command, runtime, watch, name="vfkit", button=button, terminal=True)

    async def grow_disk(self, monitor: Path, disk: Path, size: int) -> None:  # noqa: ARG002
        """Refused: the framework reads the size of a disk when the machine starts."""
        raise unsupported(
            self.name, "grow the disk of a running machine", hint="It grows at the machine's next start."
        )


async def _hard_stop(socket: Path) -> None:
    try:
        await change_state(socket, "HardStop")
    except MachineError as error:
        log.warning("a guest that restarts could not be ended: %s", error.message)
