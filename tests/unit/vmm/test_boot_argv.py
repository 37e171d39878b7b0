# SPDX-License-Identifier: Apache-2.0
"""The command lines of any guest on both drivers as golden files, wrong input included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cove.errors import CoveError
from cove.spec.boot import Disk, Guest, Kernel
from cove.system.process import Command
from cove.units import MIB
from cove.vmm.base import Runtime
from cove.vmm.qemu_boot import qemu_boot_command
from cove.vmm.uml_boot import uml_boot_command

from .test_argv import RUNTIME, TOOLS

Build = Callable[[Guest, Runtime, dict[str, Command]], Command]

KERNEL = Kernel(image=Path("/i/x-kernel"), initrd=Path("/i/x-initrd.img"), cmdline="console=ttyS0 a=1")
GUEST = Guest(name="x", architecture="x86_64", accel="tcg", cpus=1, memory=512 * MIB, kernel=KERNEL)
UML = replace(GUEST, accel="none", kernel=replace(KERNEL, image=None, cmdline="a=1"))
RAW, QCOW2 = Disk(path=Path("/d/a.img")), Disk(path=Path("/d/b,c.qcow2"), format="qcow2")
ISO = Disk(path=Path("/i/x.iso"), read_only=True, cdrom=True)
ROOT = Disk(path=Path("/i/x-squashfs.img"), read_only=True)
FIRMWARE = (Path("/t/CODE.fd"), Path("/m/vm/vars"))

CASES: dict[str, tuple[Build, Guest]] = {
    "qemu/kernel": (qemu_boot_command, replace(GUEST, reboot=False)),
    "qemu/no_console_named": (qemu_boot_command, replace(GUEST, kernel=replace(KERNEL, cmdline=""))),
    "qemu/squashfs": (qemu_boot_command, replace(GUEST, kernel=replace(KERNEL, initrd=None), disks=(ROOT, RAW))),
    "qemu/bios_iso": (qemu_boot_command, replace(GUEST, kernel=None, disks=(ISO, RAW))),
    "qemu/uefi_qcow2": (qemu_boot_command, replace(GUEST, kernel=None, disks=(QCOW2,), uefi=FIRMWARE)),
    "qemu/aarch64_iso": (
        qemu_boot_command,
        replace(GUEST, architecture="aarch64", kernel=None, disks=(ISO,), uefi=FIRMWARE, accel="kvm", cpus=4),
    ),
    "qemu/no_network": (qemu_boot_command, replace(GUEST, network=False)),
    "qemu/nothing": (qemu_boot_command, replace(GUEST, kernel=None)),
    "qemu/no_accel": (qemu_boot_command, replace(GUEST, accel="none")),
    "qemu/too_long": (qemu_boot_command, replace(GUEST, kernel=replace(KERNEL, cmdline="x" * 2100))),
    "uml/kernel": (uml_boot_command, UML),
    "uml/own_kernel": (uml_boot_command, replace(UML, kernel=replace(KERNEL, image=Path("/m/kernel/linux.uml")))),
    "uml/disks": (uml_boot_command, replace(UML, disks=(ROOT, RAW), network=False)),
    "uml/qcow2": (uml_boot_command, replace(UML, disks=(QCOW2,))),
    "uml/firmware": (uml_boot_command, replace(UML, kernel=None, disks=(RAW,))),
    "uml/two_cpus": (uml_boot_command, replace(UML, cpus=2)),
    "uml/kvm": (uml_boot_command, replace(UML, accel="kvm")),
    "uml/aarch64": (uml_boot_command, replace(UML, architecture="aarch64")),
    "uml/disk_smuggled": (uml_boot_command, replace(UML, kernel=replace(KERNEL, cmdline="ubd3=/etc/passwd"))),
    "uml/space_in_path": (uml_boot_command, replace(UML, disks=(replace(RAW, path=Path("/John Doe/d")),))),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_command(name: str, golden: Callable[[str, str], None]) -> None:
    build, guest = CASES[name]
    try:
        command = build(guest, RUNTIME, TOOLS)
    except CoveError as error:
        golden(f"boot_argv/{name}.err", f"{type(error).__name__}: {error.message}\nhint: {error.hint}\n")
    else:
        env = [f"{key}={value}" for key, value in sorted(command.env.items())]
        golden(f"boot_argv/{name}.args", "\n".join([*env, *command.argv]) + "\n")


@pytest.mark.parametrize("case", ["qemu/kernel", "uml/kernel"])
def test_a_missing_tool_is_named(case: str) -> None:
    build, guest = CASES[case]
    with pytest.raises(CoveError, match="is not in the toolbox"):
        build(guest, RUNTIME, {})
