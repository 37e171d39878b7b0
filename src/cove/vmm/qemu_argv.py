# SPDX-License-Identifier: Apache-2.0
"""QEMU's whole command line, as one pure function.

Options are those of qemu(1), checked with QEMU 7.2 and 10.0. Nothing is left to QEMU's defaults and no
configuration file is read, so that the machine is the same with every build.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cove.errors import ToolError, UsageError
from cove.spec.machine import MachineSpec
from cove.spec.shares import Share, tag
from cove.system.process import Command
from cove.vmm.base import BootFiles, Runtime, unsupported
from cove.vmm.boards import BOARDS, Board

_SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")

DATA_NODE = "data"
"""The block node of the data disk, for QEMU's monitor."""


def qemu_command(
    spec: MachineSpec, boot: BootFiles, runtime: Runtime, tools: Mapping[str, Command]
) -> Command:
    """The command that runs this machine in QEMU.

    Raises:
        UnsupportedError: the accelerator is not one of QEMU's.
        UsageError: a path or word holds a character that the command line cannot carry.
        ToolError: QEMU is not among ``tools``.
    """
    board = BOARDS[spec.architecture]
    if spec.accel not in board.cpus:
        raise unsupported("qemu", f"use the accelerator {spec.accel}", hint="Use --accel kvm, hvf or tcg.")
    if board.program not in tools:
        raise ToolError(f"{board.program} is not in the toolbox")
    return tools[board.program].with_args(
        *_machine(spec, runtime, board),
        *_memory(spec, runtime),
        *_kernel(spec, boot, runtime, board),
        *_disks(boot),
        *_network(runtime),
        *_shares(spec, runtime),
        *_small_devices(),
        *board.devices,
        *monitor(runtime),
        *_events(runtime),
        *_incoming(runtime),
    )


def escape(value: str | Path) -> str:
    """A value inside a comma-separated option: commas are doubled.

    Raises:
        UsageError: it holds a line end or NUL, which no option can carry.
    """
    text = str(value)
    if any(ord(character) < 32 for character in text):
        raise UsageError(f"{text!r} holds a control character, which QEMU's command line cannot carry")
    return text.replace(",", ",,")


def _machine(spec: MachineSpec, runtime: Runtime, board: Board) -> list[str]:
    firmware = [word for folder in runtime.firmware for word in ("-L", str(folder))]
    return [
        "-name", escape(f"cove-{spec.name}"),
        # first, so that the rest is parsed under it: no fork, no exec, no new privileges
        *(_SANDBOX if runtime.seccomp else ()),
        *firmware,
        "-nodefaults", "-no-user-config", "-display", "none",
        # a reboot ends QEMU: the supervisor starts it again with fresh parts
        "-no-reboot",
        "-machine", board.machine_for(spec.accel),
        *board.cpus[spec.accel],
        "-smp", f"cpus={spec.cpus},sockets=1,cores={spec.cpus},threads=1",
        "-m", f"size={spec.memory // 1024}k",
        # after the host slept the guest reads the right time from its clock chip
        "-rtc", "base=utc,clock=host",
    ]  # fmt: skip


def _memory(spec: MachineSpec, runtime: Runtime) -> list[str]:
    size = f"size={spec.memory // 1024}k"
    if runtime.memory_file is not None and runtime.memory_private:
        if runtime.shares:
            raise unsupported("qemu", "serve shares to a guest with private memory")
        # rom=off: without it what the guest gives back would be cut out of the file, which is not its own
        backend = f"memory-backend-file,mem-path={escape(runtime.memory_file)},share=off,readonly=on,rom=off"
    elif runtime.memory_file is not None:
        # a file of ours, not QEMU's own: such memory need not be written when the guest is suspended
        backend = f"memory-backend-file,mem-path={escape(runtime.memory_file)},share=on"
    elif runtime.shares:
        backend = "memory-backend-memfd,share=on"  # the share daemons work in the guest's memory itself
    else:
        backend = "memory-backend-ram"
    # of one name, whatever it is: a guest's memory may be another kind of memory when it goes on
    return ["-object", f"{backend},id=memory,{size}", "-machine", "memory-backend=memory"]


def _kernel(spec: MachineSpec, boot: BootFiles, runtime: Runtime, board: Board) -> list[str]:
    words = (
        boot.cmdline,
        f"console={board.console}",
        # with -no-reboot a panic ends QEMU, and the supervisor sees it
        "panic=-1",
        *board.kernel_words.get(spec.accel, ()),
        "cove.root=/dev/vda",
        "cove.data=/dev/vdb",
        "cove.settings=/dev/vdc",
        "cove.net=eth0",
        *runtime.words,
    )
    cmdline = " ".join(word for word in words if word)
    escape(cmdline)
    length = len(cmdline.encode())
    if length > board.cmdline_limit:
        raise UsageError(
            f"the kernel's command line would have {length} bytes, and may have {board.cmdline_limit}",
            details=cmdline,
        )
    return ["-kernel", str(boot.kernel), "-initrd", str(boot.initrd), "-append", cmdline]


def _disks(boot: BootFiles) -> list[str]:
    root, data, settings = escape(boot.root), escape(boot.data), escape(boot.settings)
    # the format is always given: a guest that writes a qcow2 header must not make QEMU believe it
    kind = "qcow2" if boot.data.suffix == ".qcow2" else "raw"
    return [
        "-blockdev", f"driver=file,node-name=root-file,filename={root},read-only=on",
        "-blockdev", "driver=raw,node-name=root,file=root-file,read-only=on",
        "-device", "virtio-blk-pci,drive=root,serial=cove-root",
        "-blockdev", f"driver=file,node-name={DATA_NODE}-file,filename={data},discard=unmap,aio=threads",
        "-blockdev",
        f"driver={kind},node-name={DATA_NODE},file={DATA_NODE}-file,discard=unmap,detect-zeroes=unmap",
        "-device", f"virtio-blk-pci,drive={DATA_NODE},serial=cove-data,write-cache=on",
        "-blockdev", f"driver=file,node-name=settings-file,filename={settings},read-only=on",
        "-blockdev", "driver=raw,node-name=settings,file=settings-file,read-only=on",
        "-device", "virtio-blk-pci,drive=settings,serial=cove-settings",
    ]  # fmt: skip


def _network(runtime: Runtime) -> list[str]:
    socket = escape(runtime.net_socket)
    return [
        "-netdev", f"stream,id=net,server=off,addr.type=unix,addr.path={socket}",
        # no boot ROM: its size would become part of a suspended machine
        "-device", f"virtio-net-pci,netdev=net,mac={runtime.mac},host_mtu={runtime.mtu},romfile=",
    ]  # fmt: skip


def _shares(spec: MachineSpec, runtime: Runtime) -> list[str]:
    if spec.mount_type == "9p":
        return [word for index, share in enumerate(spec.shares) for word in _plan9(index, share)]
    words = []
    for index, path in enumerate(runtime.shares):
        words += [
            "-chardev", f"socket,id=share{index},path={escape(path)}",
            "-device", f"vhost-user-fs-pci,chardev=share{index},tag={tag(index)},queue-size=1024",
        ]  # fmt: skip
    return words


def _plan9(index: int, share: Share) -> list[str]:
    """A folder that QEMU serves itself: files belong to whoever runs QEMU, and a change of owner is not kept.

    The other security models keep owners, but break symlinks (lima's experience).
    """
    mode = "" if share.writable else ",readonly=on"
    return [
        "-fsdev",
        # files on other file systems below it get inode numbers that differ from all others
        f"local,id=share{index},path={escape(share.path)},security_model=none,multidevs=remap{mode}",
        "-device", f"virtio-9p-pci,fsdev=share{index},mount_tag={tag(index)}",
    ]  # fmt: skip


def _small_devices() -> list[str]:
    return [
        "-device", "virtio-rng-pci",
        # pages that the guest freed go back to the host
        "-device", "virtio-balloon-pci,free-page-reporting=on",
    ]  # fmt: skip


def monitor(runtime: Runtime) -> list[str]:
    """The options for the guest's console, on stdin and stdout, and for QEMU's own monitor."""
    return [
        "-chardev", "stdio,id=console,signal=off",
        "-serial", "chardev:console",
        "-chardev", f"socket,id=monitor,path={escape(runtime.qmp_socket)},server=on,wait=off",
        "-mon", "chardev=monitor,mode=control",
    ]  # fmt: skip


def events_socket(runtime: Runtime) -> Path:
    """Where a second monitor tells of what happens; each serves one client at a time."""
    return runtime.qmp_socket.with_name("ev.sock")


def _events(runtime: Runtime) -> list[str]:
    return [
        "-chardev", f"socket,id=events,path={escape(events_socket(runtime))},server=on,wait=off",
        "-mon", "chardev=events,mode=control",
    ]  # fmt: skip


def _incoming(runtime: Runtime) -> list[str]:
    # paused until we say so; what to load comes through the monitor, when the memory is there
    return ["-S", "-incoming", "defer"] if runtime.incoming is not None else []
