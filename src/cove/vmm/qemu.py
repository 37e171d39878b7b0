# SPDX-License-Identifier: Apache-2.0
"""The driver qemu: QEMU under KVM or with its own emulation (tcg)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cove.errors import MachineError
from cove.spec.machine import Driver, MachineSpec
from cove.system.process import Command, Identity
from cove.vmm.base import BootFiles, Capabilities, Exit, OnConsole, Ready, Runtime, Vm
from cove.vmm.boards import BOARDS
from cove.vmm.process_vm import ProcessVm, start_process
from cove.vmm.qemu_argv import DATA_NODE, events_socket, qemu_command

_LAST_WORDS = 1.0
"""Seconds for a QEMU that cannot load a guest to say why, and end."""


class Qemu:
    """Runs machines in QEMU; see :class:`cove.vmm.base.Vmm`."""

    name: Driver = "qemu"
    capabilities = Capabilities(
        accels=("kvm", "hvf", "tcg"),
        smp=True,
        power_button=True,
        suspend=True,
        clone=True,
        balloon=True,
        grow_disk=True,
    )

    def needs(self, spec: MachineSpec) -> tuple[str, ...]:
        """The group with QEMU for the guest's architecture."""
        return (BOARDS[spec.architecture].toolbox,)

    def command(
        self, spec: MachineSpec, boot: BootFiles, runtime: Runtime, tools: Mapping[str, Command]
    ) -> Command:
        """The whole command line; see :func:`cove.vmm.qemu_argv.qemu_command`."""
        return qemu_command(spec, boot, runtime, tools)

    async def start(
        self, command: Command, runtime: Runtime, on_console: OnConsole, ready: Ready | None = None
    ) -> Vm:
        """Start QEMU. A monitor socket that a dead QEMU left behind is replaced."""
        for socket in (runtime.qmp_socket, events_socket(runtime)):
            socket.unlink(missing_ok=True)
        button = partial(_press, runtime)
        process = await start_process(command, runtime, on_console, name="QEMU", button=button)
        vm = QemuVm(process, runtime)
        if runtime.incoming is not None:
            await _load(vm, runtime, runtime.incoming, ready)
        return vm

    async def grow_disk(self, monitor: Path, disk: Path, size: int) -> None:  # noqa: ARG002
        """Make the data disk of a running machine larger; see :class:`cove.vmm.base.Vmm`."""
        from cove.vmm.qmp import qmp

        await qmp(monitor, "block_resize", {"node-name": DATA_NODE, "size": size})


class QemuVm:
    """A running QEMU; see :class:`cove.vmm.base.Vm`.

    Args:
        process: QEMU.
        runtime: what it was started with.
    """

    def __init__(self, process: ProcessVm, runtime: Runtime) -> None:
        self._process = process
        self._runtime = runtime

    @property
    def identity(self) -> Identity:
        """The process of QEMU."""
        return self._process.identity

    async def wait(self) -> Exit:
        """Wait for QEMU's end."""
        return await self._process.wait()

    def seal(self) -> None:
        """The guest has booted, or is loaded."""
        self._process.seal()

    async def power_button(self) -> None:
        """Press ctrl-alt-del."""
        await self._process.power_button()

    async def kill(self) -> None:
        """End QEMU with SIGKILL."""
        await self._process.kill()

    async def save(self, target: Path) -> None:
        """Pause the guest and write it to ``target``."""
        from cove.vmm import migration

        await migration.save(self._runtime, target)

    async def go_on(self) -> None:
        """Let the guest go on."""
        from cove.vmm import migration

        await migration.go_on(self._runtime)

    async def stalled(self) -> None:
        """Wait until the guest is stopped because its disk's file finds no room."""
        from cove.vmm import migration

        await migration.stalled(events_socket(self._runtime))


async def _load(vm: QemuVm, runtime: Runtime, source: Path, ready: Ready | None) -> None:
    """Load the guest, unless QEMU ends first. Nothing runs when that fails."""
    from cove.vmm import migration

    async def work() -> None:
        if ready is not None:
            await ready()
        await migration.load(runtime, source)

    async def early_end() -> None:
        raise MachineError(f"QEMU could not load the guest: {(await vm.wait()).reason}")

    loading, ended = asyncio.ensure_future(work()), asyncio.ensure_future(early_end())
    try:
        await asyncio.wait({loading, ended}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and loading.exception() is not None:
            await asyncio.wait({ended}, timeout=_LAST_WORDS)  # which say more than a broken connection
        for task in (ended, loading):
            if task.done():
                task.result()
    except BaseException:
        await vm.kill()
        raise
    finally:
        for task in (loading, ended):
            task.cancel()
        await asyncio.gather(loading, ended, return_exceptions=True)


async def _press(runtime: Runtime) -> None:
    from cove.vmm.qmp import qmp

    # not "system_powerdown": the ACPI button is a module in Debian's kernels and needs a daemon to listen to
    # it, while keyboard and ctrl-alt-del are built in and go to init, as they do under User-Mode Linux
    keys = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]
    await qmp(runtime.qmp_socket, "send-key", {"keys": keys})
