# SPDX-License-Identifier: Apache-2.0
"""Change what a machine has: the same checks as for a new one, and a disk only grows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cove.errors import UsageError
from cove.spec.facts import HostFacts
from cove.spec.fill import check, whole_pages
from cove.spec.machine import MachineSpec
from cove.spec.registries import Registries
from cove.spec.shares import Share
from cove.units import format_size


@dataclass(frozen=True, kw_only=True)
class SpecChange:
    """What is to become of a machine; None leaves things as they are.

    Args:
        cpus: virtual CPUs.
        memory: bytes of guest memory.
        disk: bytes of the data disk.
        shares: all the folders of the host that its guest shall see.
        file_events: whether changes on the host wake what watches files in containers.
        binfmt: whether programs of other architectures run in containers, emulated.
        registries: how its engine treats some registries, all of them.
        idle_suspend: minutes in which nothing happens until it is suspended; 0 for ever.
    """

    cpus: int | None = None
    memory: int | None = None
    disk: int | None = None
    shares: tuple[Share, ...] | None = None
    file_events: bool | None = None
    binfmt: bool | None = None
    registries: Registries | None = None
    idle_suspend: int | None = None


def change(spec: MachineSpec, wanted: SpecChange, facts: HostFacts) -> MachineSpec:
    """The machine after a change.

    Raises:
        UsageError: the host or the driver cannot do it, or the disk would shrink; the details name all reasons.
    """
    disk = spec.disk if wanted.disk is None else whole_pages(wanted.disk)
    if disk < spec.disk:
        raise UsageError(
            f"the disk of {spec.name} has {format_size(spec.disk)} and cannot shrink to {format_size(disk)}",
            hint="It is sparse: it takes only what is in it, and 'cove trim' gives back what was deleted.",
        )
    given = {name: value for name, value in vars(wanted).items() if value is not None}
    given["disk"] = disk
    if wanted.memory is not None:
        given["memory"] = whole_pages(wanted.memory)
    changed = replace(spec, **given)
    check(changed, facts)
    return changed
