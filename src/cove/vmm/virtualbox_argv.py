# SPDX-License-Identifier: Apache-2.0
"""A machine of VirtualBox as a list of VBoxManage's commands: what docker-machine and boot2docker did, as plain data.

Not a driver: VirtualBox's own NAT cannot be gvproxy, so the guest's fixed network does not fit it, and nothing here
has met a VirtualBox. Source: the VirtualBox manual, chapter "VBoxManage" (7.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cove.errors import UsageError
from cove.spec.machine import MachineSpec
from cove.spec.shares import tag
from cove.units import MIB

_CONTROLLER = "SATA"


@dataclass(frozen=True, kw_only=True)
class VirtualBoxPlan:
    """Where the parts of a machine lie.

    Args:
        folder: where VirtualBox keeps its own files of the machine.
        iso: boots the guest's kernel; VirtualBox boots none by itself.
        disk: the data disk (VDI or VMDK).
        console_log: what the guest prints on its serial port.
        ports: pairs of a port of the host's loopback and one of the guest.
    """

    folder: Path
    iso: Path
    disk: Path
    console_log: Path
    ports: tuple[tuple[int, int], ...] = ()


def create(spec: MachineSpec, plan: VirtualBoxPlan) -> list[list[str]]:
    """The commands that make the machine, in order; VBoxManage's arguments, without the program.

    Raises:
        UsageError: VirtualBox cannot have such a machine.
    """
    if spec.architecture != "x86_64":
        raise UsageError(f"VirtualBox's machines are x86_64 here, and this is {spec.architecture}")
    name = vm_name(spec.name)
    return [
        ["createvm", "--name", name, "--ostype", "Debian_64", "--basefolder", str(plan.folder), "--register"],
        ["modifyvm", name, *_hardware(spec, plan)],
        [
            "storagectl",
            name,
            "--name",
            _CONTROLLER,
            "--add",
            "sata",
            "--portcount",
            "2",
            "--hostiocache",
            "on",
        ],
        _attach(name, 0, "dvddrive", plan.iso),
        [*_attach(name, 1, "hdd", plan.disk), "--nonrotational", "on", "--discard", "on"],
        *(
            ["sharedfolder", "add", name, "--name", tag(index), "--hostpath", share.path]
            + ([] if share.writable else ["--readonly"])
            for index, share in enumerate(spec.shares)
        ),
    ]


def control(name: str, verb: str) -> list[str]:
    """One command of a machine's life: "start", "button", "save", "resume", "pause", "kill" or "delete".

    Raises:
        UsageError: there is no such verb.
    """
    vm = vm_name(name)
    commands: dict[str, Sequence[str]] = {
        "start": ("startvm", vm, "--type", "headless"),
        "resume": ("controlvm", vm, "resume"),
        "pause": ("controlvm", vm, "pause"),
        "button": ("controlvm", vm, "acpipowerbutton"),
        "save": ("controlvm", vm, "savestate"),
        "kill": ("controlvm", vm, "poweroff"),
        "delete": ("unregistervm", vm, "--delete"),
    }
    if verb not in commands:
        raise UsageError(
            f"there is no {verb!r} in a machine's life", hint=f"Use one of {', '.join(commands)}."
        )
    return list(commands[verb])


def vm_name(name: str) -> str:
    """The name by which VirtualBox knows a machine."""
    return f"cove-{name}"


def _hardware(spec: MachineSpec, plan: VirtualBoxPlan) -> list[str]:
    forwards = [
        word
        for host, guest in plan.ports
        for word in ("--natpf1", f"port{guest},tcp,127.0.0.1,{host},,{guest}")
    ]
    return [
        "--cpus", str(spec.cpus), "--memory", str(spec.memory // MIB), "--vram", "8",
        "--firmware", "bios", "--ioapic", "on", "--acpi", "on", "--pae", "on", "--rtcuseutc", "on",
        "--boot1", "dvd", "--boot2", "none", "--boot3", "none", "--boot4", "none",
        "--audio-driver", "none", "--usb", "off", "--graphicscontroller", "vmsvga",
        # the host's own resolver answers for names, as it does with gvproxy
        "--nic1", "nat", "--nictype1", "virtio", "--natdnshostresolver1", "on", *forwards,
        "--uart1", "0x3F8", "4", "--uartmode1", "file", str(plan.console_log),
    ]  # fmt: skip


def _attach(name: str, port: int, kind: str, medium: Path) -> list[str]:
    return [
        "storageattach", name, "--storagectl", _CONTROLLER, "--port", str(port), "--device", "0",
        "--type", kind, "--medium", str(medium),
    ]  # fmt: skip
