# SPDX-License-Identifier: Apache-2.0
"""The driver uml: User-Mode Linux, a Linux kernel that is an ordinary process of the host."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cove.spec.machine import Driver, MachineSpec
from cove.system.files import grow_sparse, private_folder, remove_tree
from cove.system.process import Command
from cove.units import format_size
from cove.vmm.base import BootFiles, Capabilities, OnConsole, Ready, Runtime, Vm, cannot_suspend, unsupported
from cove.vmm.disk_room import ROOM, DiskRoom
from cove.vmm.free_pages import FreePages
from cove.vmm.mconsole import mconsole
from cove.vmm.process_vm import start_process
from cove.vmm.uml_argv import balloon_socket, mconsole_socket, uml_command


class Uml:
    """Runs machines as User-Mode Linux; see :class:`cove.vmm.base.Vmm`."""

    name: Driver = "uml"
    capabilities = Capabilities(accels=("none",), power_button=True, balloon=True, grow_disk=True)

    def needs(self, spec: MachineSpec) -> tuple[str, ...]:  # noqa: ARG002
        """The group with the kernel."""
        return ("uml",)

    def command(
        self, spec: MachineSpec, boot: BootFiles, runtime: Runtime, tools: Mapping[str, Command]
    ) -> Command:
        """The whole command line; see :func:`cove.vmm.uml_argv.uml_command`."""
        return uml_command(spec, boot, runtime, tools)

    async def start(
        self,
        command: Command,
        runtime: Runtime,
        on_console: OnConsole,
        ready: Ready | None = None,  # noqa: ARG002
    ) -> Vm:
        """Start the kernel. The folder ``uml_dir`` is made anew: the pid file in it would be believed."""
        if runtime.incoming is not None:
            raise cannot_suspend(self.name)
        remove_tree(runtime.uml_dir)
        private_folder(runtime.uml_dir)
        if not runtime.memory_dir.exists():
            private_folder(runtime.memory_dir)
        button = partial(_press, runtime)
        pages = FreePages(balloon_socket(runtime))
        room = DiskRoom(runtime.growing_disk)

        def ended() -> None:
            pages.stop()
            room.give_back()

        def watch(line: str) -> None:
            if line.startswith("cove-stage "):
                room.give_back()  # the kernel has read the size by now
            on_console(line)

        pages.start()
        room.make()
        try:
            return await start_process(
                command, runtime, watch, name="User-Mode Linux", button=button, ended=ended
            )
        except BaseException:
            ended()
            raise

    async def grow_disk(self, monitor: Path, disk: Path, size: int) -> None:  # noqa: ARG002
        """Make its file larger: the device has been so all the time; see :mod:`cove.vmm.disk_room`."""
        if size > ROOM:
            problem = f"grow the disk of a running machine beyond {format_size(ROOM)}"
            raise unsupported(self.name, problem, hint="It grows at the machine's next start.")
        grow_sparse(disk, size)


async def _press(runtime: Runtime) -> None:
    await mconsole(mconsole_socket(runtime), "cad")
