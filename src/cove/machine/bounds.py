# SPDX-License-Identifier: Apache-2.0
"""What each child of a supervisor may see of the host: its program, its image, its machine's folder. Pure.

A guest's root may ask its VMM for anything that the VMM may do (User-Mode Linux mounts host folders), and may
send gvproxy what it likes; these bounds are what holds then, where the host's kernel has Landlock.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cove.machine.plan import LaunchPlan
from cove.machine.refused_calls import GVPROXY, SHARE, vmm_calls
from cove.spec.shares import Share
from cove.system.confine import Confinement
from cove.system.paths import MachinePaths
from cove.system.process import Command

DEVICES = tuple(Path("/dev", name) for name in ("null", "zero", "full", "random", "urandom", "kvm"))
"""What a VMM opens below /dev, as far as it is there."""

NAMES = (Path("/etc"), Path("/run/systemd/resolve"), Path("/run/NetworkManager"), Path("/run/resolvconf"))
"""Where resolvers look; folders, because their files are replaced when a network changes."""


def vmm_bounds(
    plan: LaunchPlan, paths: MachinePaths, command: Command, memory: Path, saved: Iterable[Path] = ()
) -> Confinement:
    """The VMM: program, image and saved guest to read; data disk, memory and its own folder to write; no network.

    Once sealed, it makes no socket any more and connects to none.
    """
    boot = plan.boot
    read = (
        *programs(command),
        boot.kernel,
        boot.initrd,
        boot.root,
        boot.settings,
        *boot.layers,
        *plan.firmware,
        Path("/proc"),
        *saved,
    )
    calls = vmm_calls(plan.spec.driver)
    write = (boot.data, paths.vm_dir, memory, *DEVICES)
    if plan.spec.mount_type != "9p":
        return Confinement(read=read, write=write, calls=calls)
    # QEMU serves the folders itself: without Cove's own files in them, but for its link to gvproxy
    return Confinement(
        read=(*read, paths.network_socket, *(Path(one.path) for one in plan.spec.shares if not one.writable)),
        write=(*write, *(Path(one.path) for one in plan.spec.shares if one.writable)),
        hide=tuple(plan.hidden.values()),
        calls=calls,
    )


def network_bounds(plan: LaunchPlan, paths: MachinePaths) -> Confinement:
    """gvproxy: its program and the host's resolver files to read, a folder of its own to write.

    Once sealed, it listens on nothing more, TCP, UDP or unix socket, whoever reaches its control API; it changes no
    file; and what it connects to lies in the network.
    """
    read = (
        *programs(plan.tools["gvproxy"]),
        *NAMES,
        Path("/proc"),
        Path("/sys/kernel/mm/transparent_hugepage"),
    )
    return Confinement(
        read=read,
        write=(paths.net_dir, *DEVICES),
        connect_tcp=True,
        calls=GVPROXY,
    )


def share_bounds(plan: LaunchPlan, share: Share) -> Confinement:
    """A share daemon: its program, and its folder to read or write; Cove's own files in it are hidden."""
    folder = (Path(share.path),)
    read = (*programs(plan.tools["virtiofsd"]), Path("/proc"))
    return Confinement(
        read=read if share.writable else (*read, *folder),
        write=(*DEVICES, *(folder if share.writable else ())),
        hide=tuple(plan.hidden.values()),
        calls=SHARE,
    )


def programs(command: Command) -> Iterable[Path]:
    """The prefix of a program of the toolbox, or the usual places of the host's own programs."""
    program = Path(command.argv[0])
    for folder in program.parents:
        if folder.parent.name == "tools":
            return (folder,)
    return (program, *(Path(place) for place in ("/usr", "/lib", "/lib64", "/bin", "/opt", "/nix", "/etc")))
