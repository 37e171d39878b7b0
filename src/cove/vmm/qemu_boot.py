# SPDX-License-Identifier: Apache-2.0
"""QEMU's whole command line for any guest, as one pure function; for Cove's own see ``qemu_argv``.

What ``linuxkit run qemu`` gives a guest, an image that boots there finds here: q35 or virt, one serial console, a
virtio network card, disks as virtio block devices, an ISO in a SATA drive (``/dev/sr0``; on virt ``/dev/vda``).
"""

from __future__ import annotations

from collections.abc import Mapping

from cove.errors import ToolError, UsageError
from cove.spec.boot import Disk, Guest, Kernel
from cove.system.process import Command
from cove.vmm.base import Runtime, unsupported
from cove.vmm.boards import BOARDS, Board
from cove.vmm.qemu_argv import escape, monitor

_CDS = "cds"


def qemu_boot_command(guest: Guest, runtime: Runtime, tools: Mapping[str, Command]) -> Command:
    """The command that boots this guest in QEMU, its console on stdin and stdout.

    Raises:
        UnsupportedError: the accelerator is not one of QEMU's.
        UsageError: a path or word holds a character that the command line cannot carry, or there is nothing to boot.
        ToolError: QEMU is not among ``tools``.
    """
    board = BOARDS[guest.architecture]
    if guest.accel not in board.cpus:
        raise unsupported(
            "qemu", f"use the accelerator {guest.accel}", hint="Use --accel kvm or --accel tcg."
        )
    if board.program not in tools:
        raise ToolError(f"{board.program} is not in the toolbox")
    if guest.kernel is None and not guest.disks:
        raise UsageError(f"there is nothing in {guest.name} to boot from")
    return tools[board.program].with_args(
        *_machine(guest, runtime, board),
        *_firmware(guest),
        *_kernel(guest, board),
        *_disks(guest, board),
        *_network(guest, runtime),
        "-device", "virtio-rng-pci",
        *board.devices,
        *monitor(runtime),
    )  # fmt: skip


def _machine(guest: Guest, runtime: Runtime, board: Board) -> list[str]:
    return [
        "-name", escape(f"cove-boot-{guest.name}"),
        # first, so that the rest is parsed under it: no fork, no exec, no new privileges
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        *(word for folder in runtime.firmware for word in ("-L", str(folder))),
        "-nodefaults", "-no-user-config", "-display", "none",
        *([] if guest.reboot else ["-no-reboot"]),
        "-machine", board.machine_for(guest.accel),
        *board.cpus[guest.accel],
        "-smp", f"cpus={guest.cpus},sockets=1,cores={guest.cpus},threads=1",
        "-m", f"size={guest.memory // 1024}k",
        "-rtc", "base=utc,clock=host",
    ]  # fmt: skip


def _firmware(guest: Guest) -> list[str]:
    if guest.uefi is None:
        return []
    code, variables = (escape(path) for path in guest.uefi)
    return [
        "-blockdev", f"driver=file,node-name=uefi-code-file,filename={code},read-only=on",
        "-blockdev", "driver=raw,node-name=uefi-code,file=uefi-code-file,read-only=on",
        "-blockdev", f"driver=file,node-name=uefi-vars-file,filename={variables}",
        "-blockdev", "driver=raw,node-name=uefi-vars,file=uefi-vars-file",
        "-machine", "pflash0=uefi-code,pflash1=uefi-vars",
    ]  # fmt: skip


def _kernel(guest: Guest, board: Board) -> list[str]:
    kernel = guest.kernel
    if kernel is None:
        return []
    if kernel.image is None:
        raise unsupported("qemu", "boot without a kernel of the guest's own")
    cmdline = command_line(
        kernel, board.console, board.kernel_words.get(guest.accel, ()), board.cmdline_limit
    )
    initrd = ["-initrd", str(kernel.initrd)] if kernel.initrd else []
    return ["-kernel", str(kernel.image), *initrd, "-append", cmdline]


def command_line(kernel: Kernel, console: str, words: tuple[str, ...], limit: int) -> str:
    """The kernel's command line: its own, with what the driver adds where the kernel has no opinion.

    Args:
        kernel: the kernel.
        console: the name of the driver's console, taken if the command line names none.
        words: what the driver needs besides.
        limit: bytes it may have.

    Raises:
        UsageError: it is too long, or holds control characters.
    """
    own = " ".join(kernel.cmdline.split())
    added = [] if "console=" in own else [f"console={console}"]
    text = " ".join(word for word in (own, *added, *words) if word)
    if any(ord(character) < 32 for character in text):
        raise UsageError(f"{text!r} holds a control character, which a kernel's command line cannot carry")
    if len(text.encode()) > limit:
        raise UsageError(
            f"the kernel's command line would have {len(text.encode())} bytes, and may have {limit}",
            details=text,
        )
    return text


def _disks(guest: Guest, board: Board) -> list[str]:
    cds = [disk for disk in guest.disks if disk.cdrom]
    words = ["-device", f"ich9-ahci,id={_CDS}"] if cds and board.architecture == "x86_64" else []
    ports = iter(range(6))
    for index, disk in enumerate(guest.disks):
        boot = "" if guest.kernel is not None else f",bootindex={index}"
        words += _node(disk, index)
        if disk.cdrom and board.architecture == "x86_64":
            words += ["-device", f"ide-cd,drive=disk{index},bus={_CDS}.{next(ports)}{boot}"]
        else:
            words += ["-device", f"virtio-blk-pci,drive=disk{index}{boot}"]
    return words


def _node(disk: Disk, index: int) -> list[str]:
    fixed = disk.read_only or disk.cdrom
    access = ",read-only=on" if fixed else ",discard=unmap"
    zeroes = "" if fixed else ",detect-zeroes=unmap"
    # the format is always given: a guest that writes a qcow2 header must not make QEMU believe it
    return [
        "-blockdev", f"driver=file,node-name=disk{index}-file,filename={escape(disk.path)}{access}",
        "-blockdev", f"driver={disk.format},node-name=disk{index},file=disk{index}-file{access}{zeroes}",
    ]  # fmt: skip


def _network(guest: Guest, runtime: Runtime) -> list[str]:
    if not guest.network:
        return []
    return [
        "-netdev", f"stream,id=net,server=off,addr.type=unix,addr.path={escape(runtime.net_socket)}",
        # no boot ROM: nothing here boots from the network
        "-device", f"virtio-net-pci,netdev=net,mac={runtime.mac},romfile=",
    ]  # fmt: skip
