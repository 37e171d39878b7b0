# SPDX-License-Identifier: Apache-2.0
"""What the VMM and the network of a booted guest may see of the host. Pure; see :mod:`cove.machine.bounds`."""

from __future__ import annotations

from pathlib import Path

from cove.machine.boot.prepare import BootPlan
from cove.machine.bounds import DEVICES, NAMES, programs
from cove.machine.refused_calls import GVPROXY, vmm_calls
from cove.spec.boot import Guest
from cove.system.confine import Confinement
from cove.system.process import Command


def guest_bounds(guest: Guest, command: Command, plan: BootPlan, folder: Path, memory: Path) -> Confinement:
    """The VMM: its program and the image to read, disks, memory and its own folder to write; no network.

    Once sealed, it makes no socket any more and connects to none.
    """
    kernel = guest.kernel
    files = [one for one in (kernel.image, kernel.initrd) if one] if kernel else []
    fixed = [disk.path for disk in guest.disks if disk.read_only or disk.cdrom]
    named = [path for disk in guest.disks for path in disk.references]
    code = [guest.uefi[0]] if guest.uefi else []
    changed = [disk.path for disk in guest.disks if disk.path not in fixed]
    own = [program for name in ("linux.uml",) if name in plan.tools for program in programs(plan.tools[name])]
    links = [folder / "links"] if (folder / "links").is_dir() else []
    return Confinement(
        read=(*programs(command), *own, *files, *fixed, *named, *code, *links, *plan.firmware, Path("/proc")),
        write=(*changed, folder / "vm", memory, *DEVICES),
        calls=vmm_calls(plan.driver),
    )


def gvproxy_bounds(plan: BootPlan, folder: Path) -> Confinement:
    """gvproxy: its program and the host's resolver files to read, a folder of its own, and the published ports.

    Once sealed, it listens on nothing more, whoever reaches its control API.
    """
    read = (
        *programs(plan.tools["gvproxy"]),
        *NAMES,
        Path("/proc"),
        Path("/sys/kernel/mm/transparent_hugepage"),
    )
    ports = tuple(one.host for one in plan.publish if one.protocol == "tcp")
    return Confinement(
        read=read, write=(folder / "net", *DEVICES), connect_tcp=True, bind_tcp=ports, calls=GVPROXY
    )
