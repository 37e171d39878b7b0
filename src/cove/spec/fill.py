# SPDX-License-Identifier: Apache-2.0
"""Fill the holes of a request: the defaults, and the checks that need more than one value."""

from __future__ import annotations

from dataclasses import fields

from cove.errors import UsageError
from cove.spec.choice import Choice, choose_driver
from cove.spec.facts import HostFacts
from cove.spec.mac import most_memory
from cove.spec.machine import (
    LEAST_DISK,
    LEAST_MEMORY,
    MOUNT_TYPES,
    MachineRequest,
    MachineSpec,
    MountType,
    Settings,
)
from cove.units import GIB, MIB, format_size

DEFAULT_MEMORY = 2 * GIB
"""Bytes of guest memory, unless half of the host's memory is less."""

DEFAULT_MEMORY_FLOOR = 512 * MIB
"""Bytes of guest memory by default on small hosts, also where this is more than half."""

DEFAULT_DISK = 64 * GIB
"""Bytes of the data disk; it is sparse, so this is a limit and not a price."""

DEFAULT_CPUS = 4
"""Virtual CPUs on hosts that have as many, where the driver can."""

_PAGE = 4096


def fill(request: MachineRequest, facts: HostFacts) -> tuple[MachineSpec, str]:
    """Make a complete machine of a request.

    Args:
        request: what the user asked for.
        facts: the host, with the verdict of the KVM probe.

    Returns:
        the machine, and for people why its driver was chosen.

    Raises:
        UsageError: some wishes do not fit together or not to this host; the details name all of them.
        UnsupportedError: the driver or accelerator asked for does not work here.
    """
    choice = choose_driver(request, facts)
    default_cpus = 1 if choice.driver == "uml" else min(DEFAULT_CPUS, facts.cpus)
    default_memory = min(DEFAULT_MEMORY, max(DEFAULT_MEMORY_FLOOR, facts.memory // 2 // MIB * MIB))
    spec = MachineSpec(
        name=request.name,
        driver=choice.driver,
        accel=choice.accel,
        architecture=choice.architecture,
        cpus=default_cpus if request.cpus is None else request.cpus,
        memory=whole_pages(default_memory if request.memory is None else request.memory),
        disk=whole_pages(DEFAULT_DISK if request.disk is None else request.disk),
        mount_type=_mount_type(request, choice, facts),
        **{field.name: getattr(request, field.name) for field in fields(Settings)},
    )
    check(spec, facts)
    return spec, choice.reason


def _mount_type(request: MachineRequest, choice: Choice, facts: HostFacts) -> MountType:
    """How folders get into the guest.

    Raises:
        UsageError: there is no such way, or not with this driver on this host.
    """
    # virtiofsd is a Linux program, and QEMU takes no such helper on macOS
    qemu_on_mac = choice.driver == "qemu" and facts.system == "darwin"
    if request.mount_type == "auto":
        return "9p" if qemu_on_mac else "virtiofs"
    for known in MOUNT_TYPES:
        if request.mount_type == known:
            break
    else:
        raise UsageError(
            f"there is no mount type {request.mount_type!r}",
            hint=f"Use one of auto, {', '.join(MOUNT_TYPES)}.",
        )
    if (known == "9p" and choice.driver != "qemu") or (known == "virtiofs" and qemu_on_mac):
        where = f"the driver {choice.driver}" + (" on macOS" if qemu_on_mac else "")
        raise UsageError(f"{where} cannot mount folders by {known}", hint="Leave --mount-type out.")
    return known


def check(spec: MachineSpec, facts: HostFacts) -> None:
    """Check what needs more than one value.

    Raises:
        UsageError: some values do not fit together or not to this host; the details name all of them.
    """
    problems: list[str] = []
    hints: list[str] = []
    if spec.driver == "uml" and spec.cpus > 1:
        problems.append(f"--cpus {spec.cpus}: the driver uml has one CPU")
        hints.append(f"Use --driver qemu --cpus {spec.cpus}, or leave --cpus out.")
    if spec.idle_suspend < 0:
        problems.append(f"--idle-suspend {spec.idle_suspend}: minutes are not below zero; 0 turns it off")
    if spec.idle_suspend > 0 and spec.driver != "qemu":
        problems.append(f"--idle-suspend {spec.idle_suspend}: the driver {spec.driver} cannot suspend")
        hints.append("Use --driver qemu, or leave --idle-suspend out.")
    if spec.cpus < 1:
        problems.append(f"--cpus {spec.cpus}: a machine has at least one CPU")
    if spec.memory < LEAST_MEMORY:
        problems.append(
            f"--memory {format_size(spec.memory)}: dockerd needs at least {format_size(LEAST_MEMORY)}"
        )
    if spec.memory > facts.memory:
        problems.append(f"--memory {format_size(spec.memory)}: the host has {format_size(facts.memory)}")
    most = most_memory(facts) if spec.accel == "hvf" else None
    if most is not None and spec.memory > most:
        problems.append(
            f"--memory {format_size(spec.memory)}: before macOS 12.4 more than {format_size(most)} of memory "
            "can take this Mac down"
        )
        hints.append("Update macOS.")
    if spec.disk < LEAST_DISK:
        problems.append(
            f"--disk {format_size(spec.disk)}: the data disk has at least {format_size(LEAST_DISK)}"
        )
    if problems:
        raise UsageError(
            f"the machine {spec.name} cannot be made like this",
            details="\n".join(problems),
            hint=" ".join(hints) or None,
        )


def whole_pages(size: int) -> int:
    """The size in bytes, rounded down: QEMU takes memory in whole pages only, and a disk must be whole sectors."""
    return size // _PAGE * _PAGE
