# SPDX-License-Identifier: Apache-2.0
"""From what was asked for to a guest without open questions, and the programs that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cove.errors import UsageError
from cove.events import Note
from cove.machine.assets import Workshop
from cove.machine.boot.contents import HEAD
from cove.machine.boot.look import Found, disk_of, examine, look
from cove.machine.boot_tools import BootTools
from cove.machine.creation import facts_for
from cove.machine.placement import choose_host_cpu
from cove.spec.boot import BootRequest, Disk, DiskFormat, DiskWish, Guest, Kernel, Publish, check_publishes
from cove.spec.choice import Choice, choose_driver
from cove.spec.facts import choose_memory_place
from cove.spec.fill import whole_pages
from cove.spec.machine import Architecture, Driver, MachineRequest
from cove.system.files import make_sparse
from cove.system.process import Command, run
from cove.units import MIB, format_size
from cove.vmm.base import unsupported
from cove.vmm.boards import BOARDS

LEAST_MEMORY = 64 * MIB
"""Bytes below which no kernel of today boots."""

_FIRMWARE: Mapping[Architecture, tuple[str, str]] = {
    "x86_64": ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),
    "aarch64": ("usr/share/AAVMF/AAVMF_CODE.fd", "usr/share/AAVMF/AAVMF_VARS.fd"),
}
_FIRMWARE_GROUPS: Mapping[Architecture, str] = {"x86_64": "uefi", "aarch64": "uefi-arm"}


@dataclass(frozen=True, kw_only=True)
class BootPlan:
    """One boot of one guest.

    Args:
        guest: what is booted.
        driver: who boots it.
        tools: the programs by name.
        firmware: folders with QEMU's firmware.
        memory_place: folder for the file that is the guest's memory.
        host_cpu: the host's processor to bind the VMM to.
        publish: ports of the host that lead to it.
        adopt: makes a program that can be started here of a User-Mode Linux that an image holds.
    """

    guest: Guest
    driver: Driver
    tools: Mapping[str, Command]
    firmware: tuple[Path, ...]
    memory_place: Path
    host_cpu: int | None
    publish: tuple[Publish, ...]
    adopt: Callable[[Path, Path], None]


def prepare(request: BootRequest, workshop: Workshop, scratch: Path) -> BootPlan:
    """Make the plan; fetches programs that are missing and makes disks that were asked for.

    Args:
        request: what was asked for.
        workshop: where programs come from.
        scratch: the fallback for the guest's memory.

    Raises:
        NotFoundError: the image is not there.
        UsageError, UnsupportedError: it cannot be booted like this, or not on this host.
    """
    request = _absolute(request)  # the VMM is started elsewhere
    check_publishes(request.publish)
    if request.publish and not request.network:
        raise UsageError("ports were published of a guest that is to have no network")
    found = look(request, partial(_read_head, workshop))
    facts = facts_for(None, workshop)
    _check_size(request, facts.memory)
    _check_firmware(request, found)
    # whatever can be refused is by now: this may fetch QEMU and try KVM
    choice = _choose(request, found, workshop)
    uefi = _wants_uefi(request, found, choice.architecture)
    guest = Guest(
        name=request.image.name,
        architecture=choice.architecture,
        accel=choice.accel,
        cpus=request.cpus,
        memory=whole_pages(request.memory),
        kernel=_kernel(found, choice, workshop),
        disks=(*found.disks, *_made(request, choice.driver, workshop)),
        uefi=_firmware(choice.architecture, workshop) if uefi else None,
        network=request.network,
        reboot=request.reboot,
    )
    tools: dict[str, Command] = {}
    firmware: list[Path] = []
    groups = ["uml"] if choice.driver == "uml" else [BOARDS[choice.architecture].toolbox]
    for group in (*groups, *(["net"] if request.network else [])):
        toolbox = workshop.toolbox(group)
        tools |= {program.name: toolbox.command(program.name) for program in toolbox.group.programs}
        firmware += toolbox.firmware
    return BootPlan(
        guest=guest,
        driver=choice.driver,
        tools=tools,
        firmware=tuple(firmware),
        memory_place=choose_memory_place(facts, guest.memory, scratch),
        host_cpu=choose_host_cpu(choice.driver),
        publish=request.publish,
        adopt=lambda program, into: workshop.toolbox("uml").adopt(program, into),
    )


def driver_for_any_kernel(request: BootRequest, workshop: Workshop) -> Driver:
    """The driver for an image whose kernel is there for each of them, chosen as for machines.

    Raises:
        UsageError, UnsupportedError: what was asked for cannot be on this host.
    """
    wish = MachineRequest(
        name="boot",
        driver=request.driver,
        accel=request.accel,
        arch=request.arch,
        cpus=request.cpus,
        memory=request.memory,
    )
    return choose_driver(wish, facts_for(wish, workshop)).driver


def _absolute(request: BootRequest) -> BootRequest:
    disks = [replace(disk, path=disk.path and disk.path.absolute()) for disk in request.disks]
    return replace(
        request,
        image=request.image.absolute(),
        initrd=request.initrd and request.initrd.absolute(),
        state=request.state and request.state.absolute(),
        disks=tuple(disks),
    )


def _choose(request: BootRequest, found: Found, workshop: Workshop) -> Choice:
    """The driver and accelerator, chosen as for machines among those that can boot what was found."""
    driver = request.driver
    if driver == "auto":
        driver = "uml" if found.uml else "qemu"
    if found.uml and driver != "uml":
        raise UsageError(
            f"{request.image} has a User-Mode Linux as its kernel, which the driver {driver} cannot boot",
            hint="Leave --driver out.",
        )
    if driver == "vz":
        raise unsupported("vz", "boot other images than a machine's yet", hint="Use --driver qemu.")
    if driver == "uml" and found.kernel is None:
        raise unsupported("uml", "boot from a disk by itself: it has no firmware", hint="Use --driver qemu.")
    arch = found.architecture or request.arch
    if request.arch != "auto" and found.architecture and request.arch != found.architecture:
        wish = MachineRequest(name="boot", arch=request.arch)
        if (
            choose_driver(replace(wish, driver="qemu", accel="tcg"), facts_for(None, workshop)).architecture
            != arch
        ):
            raise UsageError(f"the kernel of {request.image} is for {found.architecture}, not {request.arch}")
    wish = MachineRequest(
        name="boot", driver=driver, accel=request.accel, arch=arch, cpus=request.cpus, memory=request.memory
    )
    return choose_driver(wish, facts_for(wish, workshop))


def _check_size(request: BootRequest, memory: int) -> None:
    problems = []
    if request.cpus < 1:
        problems.append(f"--cpus {request.cpus}: a guest has at least one CPU")
    if request.memory < LEAST_MEMORY:
        problems.append(f"--memory {format_size(request.memory)}: at least {format_size(LEAST_MEMORY)}")
    if request.memory > memory:
        problems.append(f"--memory {format_size(request.memory)}: the host has {format_size(memory)}")
    if problems:
        raise UsageError(f"{request.image} cannot be booted like this", details="\n".join(problems))


def _check_firmware(request: BootRequest, found: Found) -> None:
    if request.firmware not in ("auto", "bios", "uefi"):
        raise UsageError(f"there is no firmware {request.firmware!r}", hint="Use one of auto, bios, uefi.")
    if found.kernel is not None and request.firmware == "uefi":
        raise UsageError("a kernel is booted without a firmware: --firmware uefi is for disks")


def _wants_uefi(request: BootRequest, found: Found, architecture: Architecture) -> bool:
    if found.kernel is not None:
        return False
    if request.firmware != "auto":
        if request.firmware == "bios" and architecture != "x86_64":
            raise UsageError(f"machines of {architecture} have no BIOS", hint="Use --firmware uefi.")
        return request.firmware == "uefi"
    if not found.boots:
        raise UsageError(
            f"{request.image} holds nothing that a BIOS or UEFI would boot",
            hint="If it does, say by what: --firmware bios or --firmware uefi.",
        )
    return "bios" not in found.boots or architecture != "x86_64"


def _firmware(architecture: Architecture, workshop: Workshop) -> tuple[Path, Path]:
    tools = BootTools(workshop.toolbox)
    code, variables = (tools.file(_FIRMWARE_GROUPS[architecture], name) for name in _FIRMWARE[architecture])
    return code, variables


def _kernel(found: Found, choice: Choice, workshop: Workshop) -> Kernel | None:
    if choice.driver != "uml" or found.kernel is None or found.uml:
        return found.kernel
    workshop.report(
        Note(
            "The image's kernel is for a PC: uml boots its own instead, which the image's modules may not fit"
        )
    )
    return replace(found.kernel, image=None)


def _made(request: BootRequest, driver: Driver, workshop: Workshop) -> list[Disk]:
    """The further disks; those that are not there yet are made."""
    state = request.state or request.image.with_name(f"{request.image.name}-state")
    disks = []
    for index, wish in enumerate(request.disks):
        path = wish.path or state / f"disk{index}.img"
        if path.exists():
            disks.append(disk_of(path, wish.format, examine(path)))
            continue
        form: DiskFormat = wish.format or "raw"
        _make_disk(wish, path, form, workshop)
        disks.append(Disk(path=path, format=form))
    if driver == "uml" and any(disk.format != "raw" for disk in disks):
        raise UsageError("the driver uml takes raw disks alone", hint="Use --driver qemu, or format=raw.")
    return disks


def _make_disk(wish: DiskWish, path: Path, form: DiskFormat, workshop: Workshop) -> None:
    if wish.size is None:
        raise UsageError(f"there is no disk {path}", hint=f"To make it, say how large: --disk {path},size=1G")
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "raw":
        make_sparse(path, whole_pages(wish.size))
        return
    img = workshop.toolbox("qemu-utils").command("qemu-img")
    run(
        img.with_args("create", "-q", "-f", form, str(path), str(wish.size)),
        doing=f"making {path}",
        deadline=60,
    )


def _read_head(workshop: Workshop, path: Path, form: DiskFormat, into: Path) -> None:
    img = workshop.toolbox("qemu-utils").command("qemu-img")
    run(
        img.with_args(
            "dd", "-U", "-f", form, "-O", "raw", "bs=512", f"count={HEAD // 512}", f"if={path}", f"of={into}"
        ),
        doing=f"reading {path}",
        deadline=60,
    )
