# SPDX-License-Identifier: Apache-2.0
"""The one interface of every driver: three methods for machines, five to live with one that runs.

A driver (:class:`Vmm`) turns plain data into one command line, with a pure function, and starts it. What runs
then is a :class:`Vm`. What a driver cannot do it says in its :class:`Capabilities` and refuses by name, with
:func:`unsupported`; there are no operations that quietly do nothing.

The guest's kernel command line is the image's, then the driver's words, then the caller's:

    cove.root=/dev/...   block device of the immutable root
    cove.data=/dev/...   block device of the data disk
    cove.settings=/dev/...   block device of the engine's settings
    cove.net=...         network device towards gvproxy
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cove.errors import UnsupportedError
from cove.spec.machine import Accel, Driver, MachineSpec
from cove.system.confine import Confinement
from cove.system.process import Command, Identity

Ending = Literal["shutdown", "reboot", "panic", "failed", "killed"]
"""How a VMM can end: the guest powered off, asked for a restart or panicked; the VMM failed or was killed."""

OnConsole = Callable[[str], None]
"""Gets every line of the guest's console, without its line end. It must not block."""

Ready = Callable[[], Awaitable[None]]
"""Returns when what a suspended guest needs is there; raises what kept it from that."""


@dataclass(frozen=True, kw_only=True)
class BootFiles:
    """What a guest boots from.

    Args:
        kernel: the kernel's file; the driver uml starts the toolbox's kernel instead.
        initrd: the initramfs.
        root: the immutable root (erofs), attached read-only.
        data: the data disk, attached writable: raw, or qcow2 if its name ends so.
        layers: the files that a qcow2 data disk is based on, which are only read.
        settings: the engine's settings (a tar archive), attached read-only.
        cmdline: kernel command line of the image.
    """

    kernel: Path
    initrd: Path
    root: Path
    data: Path
    settings: Path
    cmdline: str = ""
    layers: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where the parts of one run lie. The sockets' and logs' folder exists and is private.

    Args:
        folder: the machine's own, where the VMM is started: what lies below it can be named without the way there.
        net_socket: gvproxy's ethernet socket; it listens before the driver starts.
        qmp_socket: where the VMM is controlled, made by it: QEMU's monitor, vfkit's RESTful service.
        uml_dir: folder for User-Mode Linux's pid and management console, made by it.
        console_log: the console's log, replaced at each start.
        memory_dir: folder for the file that is the guest's memory, if the driver makes one.
        mac: the ethernet address of the guest, "5a:94:ef:e4:0c:ee" is what gvproxy leases 192.168.127.2 to.
        mtu: bytes of the largest packet, the same as gvproxy's.
        words: further words for the kernel's command line, such as "cove.hostname=default".
        firmware: folders with QEMU's firmware where the toolbox moved it away from its built-in place.
        host_cpu: the host's processor that the VMM is bound to; None lets it use all.
        confinement: the files that the VMM may use.
        shares: the vhost-user sockets of the share daemons, in the order of their tags ("cove0"...).
        seccomp: whether the host's kernel is Linux, where QEMU can give up system calls.
        memory_file: the file that is the guest's memory, of its size; None leaves memory to the driver.
        memory_private: the guest sees the file's contents, and what it writes is its own and lost at its end.
        incoming: what :meth:`Vm.save` wrote, to go on from instead of booting.
        growing_disk: a raw data disk whose driver reads its size only once, and may show it larger than it is; the
            guest is told by a word how much of it there is.
        incoming_memory: whether that holds the guest's memory as well.
    """

    folder: Path
    net_socket: Path
    qmp_socket: Path
    uml_dir: Path
    console_log: Path
    memory_dir: Path
    mac: str = "5a:94:ef:e4:0c:ee"
    mtu: int = 9000
    words: tuple[str, ...] = ()
    firmware: tuple[Path, ...] = ()
    host_cpu: int | None = None
    confinement: Confinement | None = None
    shares: tuple[Path, ...] = ()
    seccomp: bool = True
    memory_file: Path | None = None
    memory_private: bool = False
    incoming: Path | None = None
    incoming_memory: bool = False
    growing_disk: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a driver can do.

    Args:
        accels: the accelerators it knows.
        smp: more than one CPU.
        power_button: ask the guest to shut down without the network.
        suspend: write the running machine to disk and go on later.
        clone: start copies of a suspended machine.
        balloon: give memory that the guest does not need back to the host.
        grow_disk: make the data disk of a running machine larger.
    """

    accels: tuple[Accel, ...]
    smp: bool = False
    power_button: bool = False
    suspend: bool = False
    clone: bool = False
    balloon: bool = False
    grow_disk: bool = False


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How a machine's VMM ended.

    Args:
        ending: what it was; a guest that panics under QEMU has the exit code 0 too.
        code: its exit code, negative for a signal.
        reason: for people, with the last words of the VMM if it failed.
    """

    ending: Ending
    code: int
    reason: str

    @property
    def clean(self) -> bool:
        """Whether the guest shut down by itself, its disk being flushed and unmounted."""
        return self.ending in ("shutdown", "reboot")


class Vm(Protocol):
    """A running machine. It ends with the process that started it, should that be killed (Linux)."""

    @property
    def identity(self) -> Identity:
        """The process of the VMM; ending it ends the guest."""

    async def wait(self) -> Exit:
        """Wait for the end, by whatever cause; may be awaited by several tasks and again after the end."""

    def seal(self) -> None:
        """Refuse the VMM what it needs to start only: its guest is about to run what nobody has checked.

        What that is stands in the rules of :attr:`Runtime.confinement`.
        """

    async def power_button(self) -> None:
        """Ask the guest to shut down, without its network or agent; returns when it was asked.

        Raises:
            UnsupportedError: the driver has no such button.
            MachineError: the VMM has ended, or does not answer.
        """

    async def kill(self) -> None:
        """End the VMM now; returns when it is gone. What the guest did not sync is lost."""

    async def save(self, target: Path) -> None:
        """Pause the guest and write it to ``target``: its devices, and its memory unless that is a file already.

        The guest stays paused, with all its writes in its disk's file, whether this succeeds or not.

        Raises:
            UnsupportedError: the driver cannot suspend.
            MachineError: the VMM could not write it, or a device cannot be saved.
        """

    async def go_on(self) -> None:
        """Let a paused guest go on.

        Raises:
            UnsupportedError: the driver cannot suspend.
            MachineError: the VMM has ended, or does not answer.
        """

    async def stalled(self) -> None:
        """Wait until the guest is stopped because its disk has no room on the host; then :meth:`go_on` tries again.

        Never returns where the guest is told of the error instead.

        Raises:
            MachineError: the VMM has ended.
        """


class Vmm(Protocol):
    """A driver."""

    @property
    def name(self) -> Driver:
        """Its name in specs and on the command line."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def needs(self, spec: MachineSpec) -> tuple[str, ...]:
        """The groups of the toolbox that it takes programs from."""

    def command(
        self, spec: MachineSpec, boot: BootFiles, runtime: Runtime, tools: Mapping[str, Command]
    ) -> Command:
        """The whole command line. Pure: nothing is looked up, created or started.

        Args:
            spec: the machine.
            boot: what it boots from.
            runtime: where the parts of this run lie.
            tools: the programs by name, at least those of the groups in :meth:`needs`.

        Raises:
            UnsupportedError: the spec asks for something that this driver cannot do.
            UsageError: a path or word cannot be expressed on the command line.
            ToolError: the program is not among ``tools``.
        """

    async def start(
        self, command: Command, runtime: Runtime, on_console: OnConsole, ready: Ready | None = None
    ) -> Vm:
        """Start the guest; returns as soon as the VMM runs, which is long before the guest is ready.

        With :attr:`Runtime.incoming` it returns when the guest is loaded, and paused.

        Args:
            command: from :meth:`command`.
            runtime: the same.
            on_console: gets the console's lines.
            ready: awaited, while the VMM starts, before it reads :attr:`Runtime.incoming`: the memory is filled.

        Raises:
            ToolError: the program cannot be started.
            UnsupportedError: the driver cannot suspend.
            MachineError: what was saved cannot be loaded. Nothing is left running.
        """

    async def grow_disk(self, monitor: Path, disk: Path, size: int) -> None:
        """Make the data disk of a running machine larger, its file included; from any process.

        Args:
            monitor: the VMM's monitor, :attr:`Runtime.qmp_socket`.
            disk: the disk's file.
            size: bytes it shall have.

        Raises:
            UnsupportedError: the driver cannot.
            MachineError: the VMM does not answer or refused.
        """


def unsupported(driver: str, operation: str, *, hint: str | None = None) -> UnsupportedError:
    """The error of a driver that cannot do something; both are named."""
    return UnsupportedError(f"the driver {driver} cannot {operation}", hint=hint)


def check_suspend(driver: Vmm, spec: MachineSpec) -> None:
    """Check that this machine can be suspended.

    Raises:
        UnsupportedError: its driver cannot, or the way its folders get into the guest.
    """
    if not driver.capabilities.suspend:
        raise cannot_suspend(driver.name)
    if (
        spec.shares and spec.mount_type == "9p"
    ):  # QEMU's word for it: "Migration is disabled when VirtFS is mounted"
        raise unsupported(
            driver.name,
            "suspend a machine with 9p folders",
            hint="Use one that was created with --mount-type virtiofs.",
        )


def cannot_suspend(driver: str) -> UnsupportedError:
    """The error of a driver that cannot suspend, and who can."""
    return unsupported(
        driver, "suspend", hint="Use a machine of another driver: cove create NAME --driver qemu"
    )
