# SPDX-License-Identifier: Apache-2.0
"""A machine of Virtualization.framework as plain data, and as vfkit's command line.

The grammar is that of vfkit 0.6.4 (doc/usage.md, pkg/cmdline, pkg/config): options are separated by commas, and a
device's values cannot hold any; a bootloader's parts can, in double quotes, which nothing escapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cove.errors import ToolError, UsageError
from cove.spec.machine import MachineSpec
from cove.spec.shares import tag
from cove.system.paths import SOCKET_PATH_LIMIT, VFKIT_SOCKET
from cove.system.process import Command
from cove.units import MIB
from cove.vmm.base import BootFiles, Runtime, unsupported

PROGRAM = "vfkit"

TIMESYNC_PORT = 60996
"""The vsock port of the guest agent on which vfkit tells the time after the Mac slept."""

ROSETTA_TAG = "rosetta"
"""The name of the share with Apple's interpreter of x86_64 programs."""

CMDLINE_LIMIT = 2047
"""Bytes of the kernel's command line (COMMAND_LINE_SIZE without the final NUL)."""

_OWN_SOCKET = len(f"/{VFKIT_SOCKET}")


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A raw disk.

    Args:
        path: its file.
        name: what the guest knows it by (``/dev/disk/by-id``).
        writable: whether the guest may write it.
    """

    path: Path
    name: str
    writable: bool = False


@dataclass(frozen=True, kw_only=True)
class VzPlan:
    """One machine of Virtualization.framework.

    Args:
        cpus: virtual CPUs.
        memory: MiB of guest memory.
        kernel: an uncompressed Image on arm64, any bzImage on x86_64.
        initrd: the initramfs.
        cmdline: the kernel's command line.
        disks: in the order of their names in the guest, /dev/vda first.
        net_socket: gvproxy's socket of datagrams; vfkit puts its own end beside it.
        mac: the ethernet address of the guest.
        shares: folders of the Mac, each with its tag. Virtualization.framework can share read-only, vfkit cannot.
        rosetta: whether the guest gets Apple's interpreter, if the Mac has it.
        rest_socket: where vfkit takes requests.
    """

    cpus: int
    memory: int
    kernel: Path
    initrd: Path
    cmdline: str
    disks: tuple[Disk, ...]
    net_socket: Path
    mac: str
    shares: tuple[tuple[Path, str], ...]
    rosetta: bool
    rest_socket: Path


def vz_command(spec: MachineSpec, boot: BootFiles, runtime: Runtime, tools: Mapping[str, Command]) -> Command:
    """The command that runs this machine in Virtualization.framework.

    Raises:
        UnsupportedError: the spec asks for an accelerator.
        UsageError: a path or word holds a character that the command line cannot carry, or is too long.
        ToolError: vfkit is not among ``tools``.
    """
    if spec.accel != "none":
        raise unsupported("vz", f"use the accelerator {spec.accel}", hint="Leave --accel out.")
    if PROGRAM not in tools:
        raise ToolError(f"{PROGRAM} is not installed", hint="brew install vfkit")
    return tools[PROGRAM].with_args(*arguments(vz_plan(spec, boot, runtime)))


def vz_plan(spec: MachineSpec, boot: BootFiles, runtime: Runtime) -> VzPlan:
    """The machine as data."""
    rosetta = spec.binfmt and spec.architecture == "aarch64"
    words = (
        boot.cmdline,
        "console=hvc0",
        # a reset ends no machine of Virtualization.framework: the console tells the driver of panics
        "panic=-1",
        "cove.root=/dev/vda",
        "cove.data=/dev/vdb",
        "cove.settings=/dev/vdc",
        "cove.net=eth0",
        f"cove.mtu={runtime.mtu}",
        f"cove.timesync={TIMESYNC_PORT}",
        *([f"cove.rosetta={ROSETTA_TAG}"] if rosetta else []),
        *runtime.words,
    )
    return VzPlan(
        cpus=spec.cpus,
        memory=spec.memory // MIB,
        kernel=boot.kernel,
        initrd=boot.initrd,
        cmdline=" ".join(word for word in words if word),
        disks=(
            Disk(path=boot.root, name="cove-root"),
            Disk(path=boot.data, name="cove-data", writable=True),
            Disk(path=boot.settings, name="cove-settings"),
        ),
        net_socket=runtime.net_socket,
        mac=runtime.mac,
        shares=tuple((Path(share.path), tag(index)) for index, share in enumerate(spec.shares)),
        rosetta=rosetta,
        rest_socket=runtime.qmp_socket,
    )


def arguments(plan: VzPlan) -> list[str]:
    """Vfkit's arguments for a machine.

    Raises:
        UsageError: a path or word holds a character that the command line cannot carry, or is too long.
    """
    if len(plan.cmdline.encode()) > CMDLINE_LIMIT:
        raise UsageError(
            f"the kernel's command line would have {len(plan.cmdline.encode())} bytes, "
            f"and may have {CMDLINE_LIMIT}",
            details=plan.cmdline,
        )
    folder = len(bytes(plan.net_socket.parent))
    if folder + _OWN_SOCKET > SOCKET_PATH_LIMIT:
        raise UsageError(
            f"vfkit's socket would have a path of {folder + _OWN_SOCKET} bytes, and may have {SOCKET_PATH_LIMIT}",
            details=str(plan.net_socket.parent),
            hint="Set a shorter COVE_HOME.",
        )
    parts = ("linux", f"kernel={plan.kernel}", f"initrd={plan.initrd}")
    bootloader = ",".join([*map(_part, parts), f"cmdline={_quoted(plan.cmdline)}"])
    devices = [
        *(_disk(disk) for disk in plan.disks),
        f"virtio-net,unixSocketPath={_value(plan.net_socket)},mac={_value(plan.mac)}",
        *(f"virtio-fs,sharedDir={_value(path)},mountTag={_value(name)}" for path, name in plan.shares),
        *([f"rosetta,mountTag={ROSETTA_TAG},ignore-if-missing"] if plan.rosetta else []),
        "virtio-rng",
        "virtio-balloon",
        # its stdin must be a terminal, which vfkit sets up without asking whether it is one
        "virtio-serial,stdio",
    ]
    return [
        "--cpus", str(plan.cpus),
        "--memory", str(plan.memory),
        "--bootloader", bootloader,
        *(word for device in devices for word in ("--device", device)),
        # the device for it comes by itself
        "--timesync", f"vsockPort={TIMESYNC_PORT}",
        "--restful-uri", f"unix://{quote(str(plan.rest_socket))}",
        "--log-level", "error",
    ]  # fmt: skip


def _disk(disk: Disk) -> str:
    mode = "" if disk.writable else ",readonly"
    return f"virtio-blk,path={_value(disk.path)},deviceId={_value(disk.name)}{mode}"


def _value(value: str | Path) -> str:
    """A device's value; a comma would end it."""
    return _plain(value, ",")


def _part(value: str) -> str:
    """A part of the bootloader's option, in quotes if it holds a comma."""
    return _quoted(value) if "," in value else _plain(value, '"')


def _quoted(value: str) -> str:
    return f'"{_plain(value, chr(34))}"'


def _plain(value: str | Path, forbidden: str) -> str:
    text = str(value)
    for character in text:
        if character in forbidden or ord(character) < 32:
            raise UsageError(
                f"{text!r} holds {character!r}, which vfkit's command line cannot carry",
                hint="Choose another COVE_HOME, or do not share this folder.",
            )
    return text
