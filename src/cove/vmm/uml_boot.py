# SPDX-License-Identifier: Apache-2.0
"""User-Mode Linux's whole command line for any guest, as one pure function; for Cove's own see ``uml_argv``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from cove.errors import ToolError
from cove.spec.boot import Disk, Guest, Kernel
from cove.system.process import Command
from cove.vmm.base import Runtime, unsupported
from cove.vmm.uml_argv import CMDLINE_LIMIT, PROGRAM, UMID, place_in, plain_words

CONSOLE = "tty0"
"""The kernel's name of its console."""


def uml_boot_command(guest: Guest, runtime: Runtime, tools: Mapping[str, Command]) -> Command:
    """The command that boots this guest as User-Mode Linux, its console on stdin and stdout.

    Raises:
        UnsupportedError: it needs a firmware, several CPUs, an accelerator, or a disk that is not raw.
        UsageError: a path or word holds a character that the command line cannot carry.
        ToolError: linux.uml is not among ``tools``.
    """
    _check(guest)
    kernel = guest.kernel or Kernel(image=None)
    if PROGRAM not in tools:
        raise ToolError(f"{PROGRAM} is not in the toolbox")
    own = Command((str(kernel.image),), {}) if kernel.image else tools[PROGRAM]
    place = partial(place_in, runtime.folder)
    words = [
        f"mem={guest.memory // 1024}K",
        *([f"initrd={place(kernel.initrd)}"] if kernel.initrd else []),
        *(_disk(index, disk, place) for index, disk in enumerate(guest.disks)),
        *_network(guest, runtime, place),
        f"uml_dir={place(runtime.uml_dir)}",
        f"umid={UMID}",
        "noreboot",
        *("con=null", "con0=fd:0,fd:1"),
        *plain_words((kernel.cmdline,)),
        *([] if "console=" in kernel.cmdline else [f"console={CONSOLE}"]),
    ]
    if len(" ".join(words).encode()) > CMDLINE_LIMIT:
        raise unsupported("uml", f"take a command line of more than {CMDLINE_LIMIT} bytes")
    command = own.with_args(*words)
    return Command(command.argv, {**command.env, "TMPDIR": str(runtime.memory_dir)})


def _check(guest: Guest) -> None:
    hint = "Use --driver qemu."
    if guest.kernel is None or guest.uefi is not None:
        raise unsupported("uml", "boot from a disk by itself: it has no firmware", hint=hint)
    if guest.cpus > 1:
        raise unsupported("uml", f"give a guest {guest.cpus} CPUs, its kernel is built for one", hint=hint)
    if guest.accel != "none":
        raise unsupported("uml", f"use the accelerator {guest.accel}", hint=hint)
    if guest.architecture != "x86_64":
        raise unsupported("uml", f"run a guest for {guest.architecture}", hint=hint)
    for disk in guest.disks:
        if disk.format != "raw":
            raise unsupported("uml", f"use a disk in the format {disk.format}", hint=hint)


def _disk(index: int, disk: Disk, place: Callable[[Path], str]) -> str:
    # d: never a copy-on-write file, even if a guest writes the header of one; r: read-only
    flags = "rd" if disk.read_only or disk.cdrom else "d"
    return f"ubd{index}{flags}={place(disk.path)}"


def _network(guest: Guest, runtime: Runtime, place: Callable[[Path], str]) -> list[str]:
    if not guest.network:
        return []
    socket = place(runtime.net_socket)
    return [f"vec0:transport=bess,dst={socket},depth=64,mtu={runtime.mtu},mac={runtime.mac}"]
