# SPDX-License-Identifier: Apache-2.0
"""Any guest that can be booted, as data: what `cove boot` makes of its arguments. Pure.

Unlike a :class:`~cove.spec.machine.MachineSpec` it need not be Cove's own: no root, no agent, no stages; it is
kernel and initrd, or disks and a firmware that boots from them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cove.errors import UsageError
from cove.spec.machine import Accel, Architecture
from cove.units import MIB, parse_size

DiskFormat = Literal["raw", "qcow2", "vmdk", "vpc", "vhdx"]
"""QEMU's names of disk formats; "vpc" is a VHD."""

DISK_FORMATS: tuple[DiskFormat, ...] = ("raw", "qcow2", "vmdk", "vpc", "vhdx")
_FORMAT_NAMES: dict[str, DiskFormat] = {**{name: name for name in DISK_FORMATS}, "vhd": "vpc"}


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk of a guest.

    Args:
        path: its file.
        format: how the file is to be read, always said: a guest may write what it likes at the front of a raw one.
        read_only: the guest cannot write.
        cdrom: it is in a CD drive.
        references: further files that this one names and that are read with it.
    """

    path: Path
    format: DiskFormat = "raw"
    read_only: bool = False
    cdrom: bool = False
    references: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel that the VMM loads itself.

    Args:
        image: its file; None is the driver's own kernel.
        initrd: the initramfs, if there is one.
        cmdline: its command line.
    """

    image: Path | None
    initrd: Path | None = None
    cmdline: str = ""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A guest without any open question.

    Args:
        name: for people.
        architecture: of its kernel.
        accel: what executes its instructions; "none" under uml.
        cpus: virtual CPUs.
        memory: bytes.
        kernel: what the VMM boots; None leaves it to the firmware.
        disks: its disks, in the order in which the guest sees them; the firmware boots from the first.
        uefi: the files of the firmware and of its variables; None is the machine's own (a BIOS on x86_64).
        network: whether it has a network card.
        reboot: whether a restart asked for by the guest restarts it; else it ends.
    """

    name: str
    architecture: Architecture
    accel: Accel
    cpus: int
    memory: int
    kernel: Kernel | None = None
    disks: tuple[Disk, ...] = ()
    uefi: tuple[Path, Path] | None = None
    network: bool = True
    reboot: bool = True


@dataclass(frozen=True, kw_only=True)
class DiskWish:
    """A disk as it was asked for.

    Args:
        path: its file; None is one that is made.
        size: bytes it is to have if it is not there yet.
        format: None is told by its contents.
    """

    path: Path | None = None
    size: int | None = None
    format: DiskFormat | None = None


@dataclass(frozen=True, kw_only=True)
class Publish:
    """A port of the host that leads to one of the guest.

    Args:
        host: port of the host.
        guest: port of the guest.
        protocol: of both.
        address: of the host, to listen on.
    """

    host: int
    guest: int
    protocol: Literal["tcp", "udp"] = "tcp"
    address: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class BootRequest:
    """What the user asked for.

    Args:
        image: a file, or the beginning of the names of several (``NAME`` of ``NAME-kernel``, ``NAME-initrd.img``).
        initrd: goes with an image that is a kernel.
        cmdline: replaces the kernel's command line.
        driver: "auto", or the name of a driver.
        accel: "auto", or the name of an accelerator of the driver qemu.
        arch: "auto", or the architecture of the guest.
        cpus: virtual CPUs.
        memory: bytes.
        disks: further disks.
        publish: ports.
        network: whether it has a network card.
        firmware: "auto", "bios" or "uefi".
        format: of the image, if it is a disk; None is told by its contents.
        state: folder for disks that are made; None is ``IMAGE-state``.
        reboot: whether a restart asked for by the guest restarts it.
        data: what the guest is told on a CD of its own (``/config``); None for no CD.
    """

    image: Path
    initrd: Path | None = None
    cmdline: str | None = None
    driver: str = "auto"
    accel: str = "auto"
    arch: str = "auto"
    cpus: int = 1
    memory: int = 1024 * MIB
    disks: tuple[DiskWish, ...] = ()
    publish: tuple[Publish, ...] = ()
    network: bool = True
    firmware: str = "auto"
    format: DiskFormat | None = None
    state: Path | None = None
    reboot: bool = True
    data: bytes | None = None


def parse_disk(text: str) -> DiskWish:
    """Read ``[file=]PATH[,size=1G][,format=qcow2]``, as ``linuxkit run`` takes it.

    Raises:
        UsageError: it is something else.
    """
    hint = "Write it as [file=]PATH[,size=1G][,format=qcow2], or size=1G for one that is made."
    path, size, form = None, None, None
    for index, part in enumerate(text.split(",")):
        key, equals, value = part.partition("=")
        if not equals and index == 0:
            key, value = "file", part
        if key == "file" and value:
            path = Path(value)
        elif key == "size":
            size = parse_size(value, default_unit="m")  # as linuxkit has it
        elif key == "format":
            form = disk_format(value)
        else:
            raise UsageError(f"{text!r} is no disk: {part!r} is not understood", hint=hint)
    if path is None and size is None:
        raise UsageError(f"{text!r} is no disk: it has neither a file nor a size", hint=hint)
    return DiskWish(path=path, size=size, format=form)


def disk_format(name: str | None) -> DiskFormat | None:
    """The disk format of that name; None for None.

    Raises:
        UsageError: there is none.
    """
    if name is not None and name not in _FORMAT_NAMES:
        raise UsageError(f"there is no disk format {name!r}", hint=f"Use one of {', '.join(_FORMAT_NAMES)}.")
    return None if name is None else _FORMAT_NAMES[name]


_PUBLISH = re.compile(
    r"(?:(?P<address>\[[0-9a-fA-F:]+\]|[0-9.]+):)?(?P<host>\d{1,5}):(?P<guest>\d{1,5})(?:/(?P<protocol>tcp|udp))?"
)


def parse_publish(text: str) -> Publish:
    """Read ``[ADDRESS:]HOST:GUEST[/tcp|udp]``.

    Raises:
        UsageError: it is something else, or a port is out of range.
    """
    found = _PUBLISH.fullmatch(text)
    ports = [int(found[name]) for name in ("host", "guest")] if found else []
    if found is None or not all(0 < port < 65536 for port in ports):
        raise UsageError(
            f"{text!r} publishes nothing",
            hint="Write it as HOST:GUEST, HOST:GUEST/udp or 0.0.0.0:HOST:GUEST.",
        )
    protocol: Literal["tcp", "udp"] = "udp" if found["protocol"] == "udp" else "tcp"
    return Publish(
        host=ports[0],
        guest=ports[1],
        protocol=protocol,
        address=(found["address"] or "127.0.0.1").strip("[]"),
    )


def check_publishes(wishes: Sequence[Publish]) -> None:
    """Refuse a port of the host that is published twice.

    Raises:
        UsageError: one is.
    """
    seen = set()
    for one in wishes:
        key = (one.address, one.host, one.protocol)
        if key in seen:
            raise UsageError(f"the port {one.host}/{one.protocol} of this host is published twice")
        seen.add(key)
