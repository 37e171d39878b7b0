# SPDX-License-Identifier: Apache-2.0
"""What is recorded beside a saved guest, and the comparison with what is there when it shall go on. Pure.

A guest's devices only fit the very QEMU that wrote them, started with the same devices; its memory only fits its disk.
So everything that it was made of is recorded, and if any of it differs the guest is not loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cove.machine.plan import LaunchPlan
from cove.spec.machine import MachineSpec
from cove.vmm.base import Runtime, Vmm

VERSION = 2
"""Of the recorded form."""

Mark = tuple[int, int]
"""What tells one version of a file from another: its size in bytes, its time of modification in nanoseconds."""

DiskMark = tuple[int, int, str]
"""What tells one version of a disk from another: its :data:`Mark`, and the SHA-256 of its first blocks.

Those hold the file system's own record, or lead to the layer that has it."""

_CHANGES = ("driver", "accel", "cpus", "memory", "architecture", "shares", "mount_type", "binfmt")
"""What of a machine is part of its guest."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A saved guest.

    Args:
        plan: what its VMM was started with.
        form: the VMM's command line, without what may differ from run to run.
        created: seconds since the epoch.
        host: what the guest's processor depends on, "" if it is emulated.
        files: every file that it was made of, by what it is: programs, kernel, root.
        disks: its data disk; another one beside it while the disk gets another file with the same contents.
        memory: the file of its memory; None if that lies with its devices.
        devices: the file of its devices.
    """

    plan: LaunchPlan
    form: tuple[str, ...]
    created: float
    host: str
    files: Mapping[str, Mark]
    disks: tuple[DiskMark, ...]
    memory: Mark | None
    devices: Mark

    def to_dict(self) -> dict[str, object]:
        """The recorded form."""
        return {
            "version": VERSION,
            "plan": self.plan.to_dict(),
            "form": list(self.form),
            "created": self.created,
            "host": self.host,
            "files": {path: list(mark) for path, mark in self.files.items()},
            "disks": [list(disk) for disk in self.disks],
            "memory": list(self.memory) if self.memory else None,
            "devices": list(self.devices),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Saved:
        """Read the recorded form.

        Raises:
            LookupError, TypeError, ValueError, UsageError: it is none, or of another version of Cove.
        """
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']}")
        return cls(
            plan=LaunchPlan.from_dict(data["plan"]),
            form=tuple(data["form"]),
            created=float(data["created"]),
            host=str(data["host"]),
            files={path: _mark(mark) for path, mark in data["files"].items()},
            disks=tuple((int(size), int(time), str(start)) for size, time, start in data["disks"]),
            memory=_mark(data["memory"]) if data["memory"] else None,
            devices=_mark(data["devices"]),
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is there now, to be compared with a :class:`Saved`; None for a file that is gone."""

    spec: MachineSpec
    form: tuple[str, ...]
    host: str
    files: Mapping[str, Mark | None]
    disk: DiskMark | None
    memory: Mark | None
    devices: Mark | None


def misfits(saved: Saved, found: Found) -> list[str]:
    """Why a saved guest cannot go on, in words for people; nothing if it can."""
    reasons = []
    changed = [name for name in _CHANGES if getattr(found.spec, name) != getattr(saved.plan.spec, name)]
    if changed:
        reasons.append(f"the machine was changed meanwhile: {', '.join(changed)}")
    for path, mark in saved.files.items():
        now = found.files.get(path)
        if now != mark:
            reasons.append(f"{path} {'was replaced' if now else 'is gone'}")
    if saved.form != found.form:
        reasons.append("this version of Cove starts the VMM with other devices")
    if saved.host != found.host:
        reasons.append(f"it ran on another processor or kernel: {saved.host}, now {found.host}")
    if found.disk not in saved.disks:
        reasons.append("its data disk was changed meanwhile")
    if (saved.memory, saved.devices) != (found.memory, found.devices):
        reasons.append("what was saved is damaged")
    return reasons


def form_of(driver: Vmm, plan: LaunchPlan) -> tuple[str, ...]:
    """The VMM's command line with fixed names in place of what differs from run to run, and from clone to clone.

    Args:
        driver: who starts it.
        plan: what is started.
    """
    runtime = Runtime(
        folder=Path("/machine"),
        net_socket=Path("/net"),
        qmp_socket=Path("/monitor"),
        uml_dir=Path("/uml"),
        console_log=Path("/console"),
        memory_dir=Path("/memory"),
        firmware=plan.firmware,
        shares=tuple(
            Path(f"/share/{number}") for number, _ in enumerate(plan.spec.shares) if plan.spec.share_daemons
        ),
        incoming=Path("/devices"),
    )
    spec = replace(plan.spec, name="guest")
    return driver.command(
        spec,
        replace(plan.boot, data=Path("/data"), settings=Path("/settings"), layers=()),
        runtime,
        plan.tools,
    ).argv


def _mark(data: Any) -> Mark:
    size, time = data
    return int(size), int(time)
