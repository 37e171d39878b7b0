# SPDX-License-Identifier: Apache-2.0
"""Run one guest with its console in our terminal, until it ends or is ended; nothing is left of it then."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from cove.errors import MachineError, UsageError
from cove.events import Note
from cove.image.formats.iso9660 import write_iso
from cove.machine.assets import Workshop
from cove.machine.boot.bounds import guest_bounds, gvproxy_bounds
from cove.machine.boot.console import HELP, Keys
from cove.machine.boot.prepare import BootPlan, driver_for_any_kernel, prepare
from cove.machine.boot.pump import Pump
from cove.machine.memory import MemoryFolder
from cove.net.forwards import GUEST, Forward
from cove.net.gvproxy import Gvproxy
from cove.spec.boot import BootRequest, Disk, Guest
from cove.spec.machine import Driver
from cove.system.children import Child, spawn
from cove.system.files import link_to, private_folder, remove_tree, try_lock
from cove.system.paths import SOCKET_PATH_LIMIT
from cove.system.sparse import copy_sparse
from cove.vmm.base import Exit, Runtime
from cove.vmm.process_vm import describe_exit
from cove.vmm.qemu_boot import qemu_boot_command
from cove.vmm.uml_boot import uml_boot_command

_MTU = 1500
"""What a guest takes that nobody told otherwise."""

_TAIL = 2000


@contextmanager
def boot_folder(boots: Path) -> Iterator[Path]:
    """A private folder for one boot, gone afterwards; those of boots that were killed are removed too.

    Args:
        boots: the folder of all of them.

    Raises:
        UsageError: the path of a socket in it would be too long.
        StorageError: it cannot be made.
    """
    private_folder(boots)
    for left in boots.iterdir():
        handle = try_lock(left / "lock") if left.is_dir() else None
        if handle is not None:
            remove_tree(left)
            os.close(handle)
    folder = Path(tempfile.mkdtemp(dir=boots, prefix=""))
    handle = try_lock(folder / "lock")
    try:
        if len(bytes(folder / "u/vm/mconsole")) > SOCKET_PATH_LIMIT:
            raise UsageError(
                f"the path of a socket would be too long: {folder}/...",
                hint="Set COVE_HOME to a shorter folder.",
            )
        yield folder
    finally:
        remove_tree(folder)
        if handle is not None:
            os.close(handle)


async def run_guest(plan: BootPlan, folder: Path) -> int:
    """Run the guest; returns the exit code of the command line: 0 when it shut down or was ended with Ctrl-A x.

    Args:
        plan: which.
        folder: private, for this boot alone.

    Raises:
        MachineError: the VMM failed, or the guest's kernel panicked and that ended it.
        ConflictError, NetworkError: a port cannot be published.
        ToolError: a program cannot be started.
    """
    while True:
        ended = await _once(plan, folder)
        if isinstance(ended, int):
            return ended
        if ended.ending == "reboot" and plan.guest.reboot:
            continue
        if ended.clean:
            return 0
        raise MachineError(f"{plan.guest.name}: {ended.reason}", details=_said(folder / "vmm.log"))


async def _once(plan: BootPlan, folder: Path) -> Exit | int:
    network = await _network(plan, folder)
    try:
        memory = MemoryFolder(plan.memory_place, folder)
        try:
            return await _vm(plan, folder, memory.path)
        finally:
            memory.remove()
    finally:
        if network is not None:
            await network.stop()


async def _network(plan: BootPlan, folder: Path) -> Gvproxy | None:
    if not plan.guest.network:
        return None
    private_folder(folder / "net")
    gvproxy = Gvproxy(
        plan.tools["gvproxy"],
        driver=plan.driver,
        net_socket=folder / "net/frames.sock",
        api_socket=folder / "net/api.sock",
        log=folder / "net.log",
        mtu=_MTU,
        confinement=gvproxy_bounds(plan, folder),
    )
    await gvproxy.start()
    try:
        for one in plan.publish:
            host = f"[{one.address}]" if ":" in one.address else one.address
            await gvproxy.api.expose(
                Forward(local=f"{host}:{one.host}", remote=f"{GUEST}:{one.guest}", protocol=one.protocol)
            )
    except BaseException:
        await gvproxy.stop()
        raise
    gvproxy.seal()  # before any guest can speak to it
    return gvproxy


async def _vm(plan: BootPlan, folder: Path, memory: Path) -> Exit | int:
    runtime = Runtime(
        folder=folder,
        net_socket=folder / "net/frames.sock",
        qmp_socket=folder / "vm/qmp.sock",
        uml_dir=folder / "vm/u",
        console_log=folder / "console.log",
        memory_dir=memory,
        mtu=_MTU,
        firmware=plan.firmware,
        host_cpu=plan.host_cpu,
    )
    remove_tree(folder / "vm")
    private_folder(folder / "vm/u")
    guest = _placed(plan, folder)
    build = uml_boot_command if plan.driver == "uml" else qemu_boot_command
    command = build(guest, runtime, plan.tools)
    ours, theirs = os.openpty()
    try:
        child = await spawn(
            command,
            name="User-Mode Linux" if plan.driver == "uml" else "QEMU",
            log=folder / "vmm.log",
            terminal=theirs,
            cwd=folder,
            host_cpu=plan.host_cpu,
            confinement=guest_bounds(guest, command, plan, folder, memory),
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    # a User-Mode Linux opens its network when the guest does
    return await _attended(child, ours, seal=plan.driver != "uml")


async def _attended(child: Child, console: int, *, seal: bool) -> Exit | int:
    """Carry keys and console until the guest ends.

    Args:
        child: the VMM.
        console: our end of the guest's console.
        seal: the VMM has opened all that it opens when the guest first speaks.
    """
    quits: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(code: int) -> None:
        if not quits.done():
            quits.set_result(code)

    keys = Keys(on_quit=lambda: end(0), on_help=lambda: pump.show(HELP.encode()))
    pump = Pump(console, keys, on_first=child.seal if seal else None)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, end, 128 + number)
    try:
        with pump.attached():
            waiting = asyncio.ensure_future(child.wait())
            await asyncio.wait({waiting, quits}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                child.kill()
            code = await waiting
            await pump.drain()
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.remove_signal_handler(number)
    if quits.done():
        return quits.result()
    return describe_exit(child.name, code, pump.last_lines())


def _placed(plan: BootPlan, folder: Path) -> Guest:
    """The guest with its files where the driver can name them, and a firmware's variables of its own."""
    guest = plan.guest
    if guest.uefi is not None:
        variables = folder / "vm/uefi-variables"
        copy_sparse(guest.uefi[1], variables)
        guest = replace(guest, uefi=(guest.uefi[0], variables))
    if plan.driver != "uml":
        return guest
    links = folder / "links"
    private_folder(links)

    def placed(path: Path, name: str) -> Path:
        link_to(path.absolute(), links / name)
        return links / name

    kernel = guest.kernel
    if kernel is not None and kernel.initrd is not None:
        kernel = replace(kernel, initrd=placed(kernel.initrd, "initrd"))
    if kernel is not None and kernel.image is not None:
        kernel = replace(kernel, image=_runnable(kernel.image, plan, folder))
    disks = [replace(disk, path=placed(disk.path, f"disk{index}")) for index, disk in enumerate(guest.disks)]
    return replace(guest, kernel=kernel, disks=tuple(disks))


def _runnable(kernel: Path, plan: BootPlan, folder: Path) -> Path:
    """A copy of a User-Mode Linux that can be executed; images hold it as a file like any other."""
    copy = private_folder(folder / "kernel") / "linux.uml"
    if not copy.exists():
        plan.adopt(kernel, copy)
    return copy


def _said(log: Path) -> str | None:
    with suppress(OSError):
        return log.read_text(errors="replace")[-_TAIL:].strip() or None
    return None


def _with_data(plan: BootPlan, data: bytes, path: Path) -> BootPlan:
    """The plan with a CD that tells the guest something, in the form of `linuxkit metadata create`."""
    with path.open("xb") as out:
        write_iso(out, {"CONFIG": data}, label="config")
    disk = Disk(path=path, read_only=True, cdrom=True)
    return replace(plan, guest=replace(plan.guest, disks=(*plan.guest.disks, disk)))


Build = Callable[[Path, Callable[[], Driver]], Path]
"""Makes an image in a folder; is given who can tell the driver, where the image's kernel leaves it open. Returns what
the names of its files begin with."""


def boot(request: BootRequest, workshop: Workshop, build: Build | None = None) -> int:
    """Boot what was asked for and wait for its end; returns the command line's exit code.

    Args:
        request: what was asked for.
        workshop: where programs come from.
        build: makes the image first, in a folder that is gone afterwards.

    Raises:
        CoveError: as :func:`cove.machine.boot.prepare.prepare` and :func:`run_guest` do.
    """
    with boot_folder(workshop.home.boots) as folder:
        if build is not None:
            image = build(private_folder(folder / "image"), lambda: driver_for_any_kernel(request, workshop))
            request = replace(request, image=image)
        plan = prepare(request, workshop, folder / "vm")
        if request.data is not None:
            plan = _with_data(plan, request.data, folder / "data.iso")
        accel = f"/{plan.guest.accel}" if plan.guest.accel != "none" else ""
        workshop.report(
            Note(f"Booting {plan.guest.name} ({plan.driver}{accel}); Ctrl-A x ends it, Ctrl-A h helps")
        )
        close = getattr(workshop.report, "close", None)
        if close is not None:
            close()  # the terminal is the guest's from here on
        return asyncio.run(run_guest(plan, folder))
