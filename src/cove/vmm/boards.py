# SPDX-License-Identifier: Apache-2.0
"""QEMU's machines, one for each architecture of a guest: what differs between them, as data.

Machine types and devices are those of QEMU's system/target-i386 and system/arm/virt manuals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cove.spec.machine import Accel, Architecture


@dataclass(frozen=True, kw_only=True)
class Board:
    """A machine of QEMU's.

    Args:
        architecture: of its guests.
        toolbox: the group of programs that QEMU for it is in.
        program: QEMU.
        machine: the value of ``-machine``; ``{gic}`` stands for the version of the interrupt controller.
        console: the kernel's name of its first serial port.
        cpus: the words that choose the processor, for each accelerator.
        kernel_words: words for the guest's kernel under each accelerator that wants some.
        devices: the options of what only this machine needs.
        cmdline_limit: bytes of the kernel's command line (COMMAND_LINE_SIZE without the final NUL).
        restart: the kernel's word for the restart that needs least of the machine.
    """

    architecture: Architecture
    toolbox: str
    program: str
    machine: str
    console: str
    cpus: Mapping[Accel, tuple[str, ...]]
    kernel_words: Mapping[Accel, tuple[str, ...]]
    devices: tuple[str, ...]
    cmdline_limit: int = 2047
    restart: str = ""

    def machine_for(self, accel: Accel) -> str:
        """The value of ``-machine`` under an accelerator."""
        # KVM passes the host's own controller through; QEMU's own is version 3, because version 2 ends at 8 CPUs
        return self.machine.format(gic="host" if accel == "kvm" else "3")


# the default translation cache is a fraction of memory: 512 MiB keeps dockerd's code translated
_TCG = ("-accel", "tcg,thread=multi,tb-size=512")

Q35 = Board(
    architecture="x86_64",
    toolbox="qemu",
    program="qemu-system-x86_64",
    # no disk or mouse ports that nothing is plugged into: the guest's kernel would look for them
    machine="q35,vmport=off,usb=off,sata=off,smbus=off",
    console="ttyS0",
    cpus={
        # Without what only slows an emulated processor down: `rep movsb`, said to be the fast way to copy, goes byte by
        # byte, a fifth level of page tables makes each walk longer, and protection keys each switch of a task.
        "tcg": (*_TCG, "-cpu", "max,-erms,-fsrm,-la57,-pku"),
        "kvm": ("-accel", "kvm", "-cpu", "host"),
        # these two are said to be there and fail in the guest (lima#1485)
        "hvf": ("-accel", "hvf", "-cpu", "host,-avx512vl,-pdpe1gb"),
    },
    # a busy host delays the emulated timer enough for the kernel's self-test to give up (a panic)
    kernel_words={"tcg": ("no_timer_check",)},
    # tells the guest's random generator that it was cloned
    devices=("-device", "vmgenid,guid=auto"),
    # a triple fault needs nothing at all
    restart="reboot=triple",
)

VIRT = Board(
    architecture="aarch64",
    toolbox="qemu-arm",
    program="qemu-system-aarch64",
    machine="virt,gic-version={gic},highmem=on",
    console="ttyAMA0",
    cpus={
        # Arm's own way to sign pointers costs half of all time when it is emulated; any other will do
        "tcg": (*_TCG, "-cpu", "max,pauth-impdef=on"),
        "kvm": ("-accel", "kvm", "-cpu", "host"),
        # QEMU 10 and later know no other model there
        "hvf": ("-accel", "hvf", "-cpu", "host"),
    },
    kernel_words={},
    # ctrl-alt-del is the power button, and this machine has no keyboard of its own
    devices=("-device", "virtio-keyboard-pci"),
)

BOARDS: Mapping[Architecture, Board] = {board.architecture: board for board in (Q35, VIRT)}
"""Every board by its guests' architecture."""
