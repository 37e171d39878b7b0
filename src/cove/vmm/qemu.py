# SPDX-License-Identifier: Apache-2.0
"""The driver qemu: QEMU under KVM or with its own emulation (tcg)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cove.spec.machine import Driver, MachineSpec
from cove.system.process import Command
from cove.vmm.base import BootFiles, Capabilities, OnConsole, Runtime, Vm
from cove.vmm.boards import BOARDS
from cove.vmm.process_vm import start_process
from cove.vmm.qemu_argv import DATA_NODE, qemu_command


class Qemu:
    """Runs machines in QEMU; see :class:`cove.vmm.base.Vmm`."""

    name: Driver = "qemu"
    capabilities = Capabilities(
        accels=("kvm", "hvf", "tcg"), smp=True, power_button=True, balloon=True, grow_disk=True
    )

    def needs(self, spec: MachineSpec) -> tuple[str, ...]:
        """The group with QEMU for the guest's architecture."""
        return (BOARDS[spec.architecture].toolbox,)

    def command(
        self, spec: MachineSpec, boot: BootFiles, runtime: Runtime, tools: Mapping[str, Command]
    ) -> Command:
        """The whole command line; see :func:`cove.vmm.qemu_argv.qemu_command`."""
        return qemu_command(spec, boot, runtime, tools)

    async def start(self, command: Command, runtime: Runtime, on_console: OnConsole) -> Vm:
        """Start QEMU. A monitor socket that a dead QEMU left behind is replaced."""
        runtime.qmp_socket.unlink(missing_ok=True)
        button = partial(_press, runtime)
        return await start_process(command, runtime, on_console, name="QEMU", button=button)

    async def grow_disk(self, monitor: Path, size: int) -> None:
        """Make the data disk of a running machine larger; see :class:`cove.vmm.base.Vmm`."""
        from cove.vmm.qmp import qmp

        await qmp(monitor, "block_resize", {"node-name": DATA_NODE, "size": size})


async def _press(runtime: Runtime) -> None:
    from cove.vmm.qmp import qmp

    # not "system_powerdown": the ACPI button is a module in Debian's kernels and needs a daemon to listen to
    # it, while keyboard and ctrl-alt-del are built in and go to init, as they do under User-Mode Linux
    keys = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]
    await qmp(runtime.qmp_socket, "send-key", {"keys": keys})
