# SPDX-License-Identifier: Apache-2.0
"""What the user asked for, and the machine that it became.

A :class:`MachineRequest` has holes ("auto", None); :func:`cove.spec.fill.fill` makes a :class:`MachineSpec`
of it, which has none and is recorded as JSON in the machine's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from cove.errors import UsageError
from cove.spec.reading import Fields
from cove.spec.registries import NO_REGISTRIES, Registries, read_recorded
from cove.spec.shares import Share, read_shares
from cove.units import GIB, MIB

SPEC_VERSION = 1
"""Version of the recorded form of :class:`MachineSpec`."""

LEAST_MEMORY = 256 * MIB
"""Bytes of memory below which dockerd does not start in any driver."""

LEAST_DISK = GIB
"""Bytes of the smallest data disk: below this not even a few images fit."""

Driver = Literal["uml", "qemu", "vz"]
Accel = Literal["none", "kvm", "tcg", "hvf"]
Architecture = Literal["x86_64", "aarch64"]
MountType = Literal["virtiofs", "9p"]

DRIVERS: tuple[Driver, ...] = ("uml", "qemu", "vz")
ACCELS: tuple[Accel, ...] = ("none", "kvm", "tcg", "hvf")
ARCHITECTURES: tuple[Architecture, ...] = ("x86_64", "aarch64")
MOUNT_TYPES: tuple[MountType, ...] = ("virtiofs", "9p")

DEBIAN_NAMES: Mapping[Architecture, str] = {"x86_64": "amd64", "aarch64": "arm64"}
"""What Debian and Docker call each architecture."""


def architecture_named(name: str) -> Architecture:
    """The architecture of that name: the kernel's, or Debian's and Docker's.

    Raises:
        UsageError: there is none.
    """
    for architecture, other in DEBIAN_NAMES.items():
        if name in (architecture, other):
            return architecture
    raise UsageError(f"there is no architecture {name!r}", hint=f"Use one of {', '.join(ARCHITECTURES)}.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a machine has as it was asked for: nothing of it depends on the host. Defaults are what older ones had.

    Args:
        shares: the host's folders that its guest sees.
        file_events: whether changes on the host wake what watches files in containers.
        binfmt: whether programs of other architectures run in containers, emulated.
        registries: how its engine treats some registries.
        idle_suspend: minutes in which nothing happens until it is suspended; 0 for ever.
        image: absolute paths of the YAML files of its own guest, merged in this order; none for Cove's.
    """

    shares: tuple[Share, ...] = ()
    file_events: bool = True
    binfmt: bool = False
    registries: Registries = NO_REGISTRIES
    idle_suspend: int = 0
    image: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MachineRequest(Settings):
    """What the user asked for. Texts are as typed, so that a wrong one can be refused by name.

    Args:
        name: the machine's name.
        driver: "auto", or the name of a driver.
        accel: "auto", or the name of an accelerator of the driver qemu.
        arch: "auto", which is the host's, or the architecture of kernel and root.
        cpus: virtual CPUs, None for the driver's default.
        memory: bytes of guest memory, None for the default.
        disk: bytes of the sparse data disk, None for the default.
        mount_type: "auto", or how folders get into the guest.
    """

    name: str
    driver: str = "auto"
    accel: str = "auto"
    arch: str = "auto"
    cpus: int | None = None
    memory: int | None = None
    disk: int | None = None
    mount_type: str = "auto"


@dataclass(frozen=True, kw_only=True)
class MachineSpec(Settings):
    """A machine without any open question.

    Args:
        name: the machine's name.
        driver: who runs its kernel.
        accel: what executes the guest's instructions; "none" for uml, whose guest code runs natively.
        cpus: virtual CPUs.
        memory: bytes of guest memory.
        disk: bytes of the data disk, which is sparse.
        architecture: of kernel and root.
        mount_type: how folders get into the guest: "virtiofs", or "9p" which QEMU does itself.
    """

    name: str
    driver: Driver
    accel: Accel
    cpus: int
    memory: int
    disk: int
    architecture: Architecture = "x86_64"
    mount_type: MountType = "virtiofs"

    @property
    def share_daemons(self) -> bool:
        """Whether each shared folder has a process of its own that serves it; vz and 9p do it in the VMM."""
        return bool(self.shares) and self.driver != "vz" and self.mount_type == "virtiofs"

    def to_dict(self) -> dict[str, object]:
        """The recorded form."""
        shares = [asdict(share) for share in self.shares]
        return {"version": SPEC_VERSION, **asdict(self), "shares": shares, "image": list(self.image)}

    @classmethod
    def from_dict(cls, data: object) -> MachineSpec:
        """Read the recorded form.

        Raises:
            UsageError: another version, or some keys are unknown, missing or wrong: all are named.
        """
        fields = Fields(data, what="a machine's spec", version=SPEC_VERSION)
        spec = cls(
            name=fields.take("name", str),
            driver=fields.choice("driver", DRIVERS),
            accel=fields.choice("accel", ACCELS),
            cpus=fields.number("cpus", least=1),
            memory=fields.number("memory", least=LEAST_MEMORY),
            disk=fields.number("disk", least=LEAST_DISK),
            architecture=fields.choice("architecture", ARCHITECTURES),
            shares=fields.read("shares", read_shares, default=[]),
            file_events=fields.take("file_events", bool, default=True),
            binfmt=fields.take("binfmt", bool, default=False),
            registries=fields.read("registries", read_recorded, default={"insecure": [], "mirrors": []}),
            mount_type=fields.choice("mount_type", MOUNT_TYPES, default="virtiofs"),
            idle_suspend=fields.take("idle_suspend", int, default=0),
            image=fields.read("image", _read_image, default=[]),
        )
        fields.done()
        return spec


def _read_image(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.startswith("/") for one in value):
        raise UsageError(f"image: it is {value!r}, not a list of absolute paths")
    return tuple(value)
