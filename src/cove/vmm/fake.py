# SPDX-License-Identifier: Apache-2.0
"""A driver in memory, for tests of everything above the drivers: no program, no kernel, no waiting.

It keeps to the same contract as the others (``tests/unit/vmm/test_contract.py``): it prints a boot's stage
lines on its console, shuts down at the power button, and ends when killed. Its process is the caller's own,
which lives as long as the fake does.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from cove.errors import MachineError
from cove.spec.machine import Driver, MachineSpec
from cove.system.process import Command, Identity
from cove.vmm.base import (
    BootFiles,
    Capabilities,
    Exit,
    OnConsole,
    Ready,
    Runtime,
    Vm,
    cannot_suspend,
    unsupported,
)
from cove.vmm.console import Console, ConsoleLog
from cove.vmm.process_vm import describe_exit

STAGES = ("kernel", "root", "disk", "network", "agent", "engine")
"""The stages of the lines ``cove-stage NAME SECONDS`` that a guest prints while it boots."""

SAVED = "a fake guest"
"""What a saved one consists of."""


class Fake:
    """Pretends to run machines; see :class:`cove.vmm.base.Vmm`.

    Args:
        name: the driver that it stands for.
        stages: what its guests print; cut it short to have them hang there.
        exit_code: with what they end after the last stage; None to run on.
        power_button: whether there is one.
        suspend: whether its guests can be suspended.
    """

    def __init__(
        self,
        *,
        name: Driver = "uml",
        stages: tuple[str, ...] = STAGES,
        exit_code: int | None = None,
        power_button: bool = True,
        suspend: bool = False,
    ) -> None:
        self.name: Driver = name
        self.capabilities = Capabilities(
            accels=("none", "kvm", "tcg"), smp=True, power_button=power_button, suspend=suspend
        )
        self._stages = stages
        self._exit_code = exit_code

    def needs(self, spec: MachineSpec) -> tuple[str, ...]:  # noqa: ARG002
        """No program at all."""
        return ()

    def command(
        self, spec: MachineSpec, boot: BootFiles, runtime: Runtime, tools: Mapping[str, Command]
    ) -> Command:
        """A command line that says what would run; a program named "fake" among ``tools`` is taken."""
        fake = tools.get("fake", Command(("fake",), {}))
        words = (f"name={spec.name}", f"root={boot.root}", f"data={boot.data}", boot.cmdline, *runtime.words)
        return fake.with_args(*words)

    async def start(
        self, command: Command, runtime: Runtime, on_console: OnConsole, ready: Ready | None = None
    ) -> Vm:
        """Start to print the stages, in the background as a real guest does; a loaded guest prints none."""
        if runtime.incoming is not None and not self.capabilities.suspend:
            raise cannot_suspend(self.name)
        if ready is not None:
            await ready()
        if runtime.incoming is not None and _read(runtime.incoming) != SAVED:
            raise MachineError("the fake could not load the guest")
        console = Console(ConsoleLog(runtime.console_log), on_console)
        console.write(" ".join(command.argv))
        stages = self._stages if runtime.incoming is None else ()
        return FakeVm(self, console, stages, self._exit_code)

    async def grow_disk(self, monitor: Path, disk: Path, size: int) -> None:  # noqa: ARG002
        """Refused: there is no disk."""
        raise unsupported(self.name, "grow the disk of a running machine")


class FakeVm:
    """A machine that only prints; see :class:`cove.vmm.base.Vm`."""

    def __init__(
        self, driver: Fake, console: Console, stages: tuple[str, ...], exit_code: int | None
    ) -> None:
        self.sealed = False
        self._driver = driver
        self._console = console
        self.paused = False
        self.full = asyncio.Event()
        """Set by tests: its disk has no room."""
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._boot = asyncio.create_task(self._print(stages, exit_code))

    @property
    def identity(self) -> Identity:
        """The caller's own process: there is no other. Do not signal it."""
        return Identity.of(os.getpid()) or Identity(os.getpid(), "")

    async def wait(self) -> Exit:
        """Wait for the pretended end."""
        code = await asyncio.shield(self._exit)
        return describe_exit("the fake", code, self._console.last_words())

    def seal(self) -> None:
        """Note it in :attr:`sealed`."""
        self.sealed = True

    async def power_button(self) -> None:
        """Shut down at once."""
        if not self._driver.capabilities.power_button:
            raise unsupported(self._driver.name, "press the power button")
        self._console.write("reboot: Power down")
        self._end(0)

    async def kill(self) -> None:
        """End as if by SIGKILL."""
        self._end(-signal.SIGKILL)

    async def save(self, target: Path) -> None:
        """Write a few bytes, and be paused."""
        if not self._driver.capabilities.suspend:
            raise cannot_suspend(self._driver.name)
        self.paused = True
        _write(target, SAVED)

    async def go_on(self) -> None:
        """Be paused no more."""
        if not self._driver.capabilities.suspend:
            raise cannot_suspend(self._driver.name)
        self.paused = False
        self.full.clear()

    async def stalled(self) -> None:
        """Wait for :attr:`full`."""
        await self.full.wait()

    async def _print(self, stages: tuple[str, ...], exit_code: int | None) -> None:
        for number, stage in enumerate(stages):
            self._console.write(f"cove-stage {stage} {number / 10:.2f}")
            await asyncio.sleep(0)
        if exit_code is not None:
            self._end(exit_code)

    def _end(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)
            self._boot.cancel()
            self._console.close()


def _read(path: Path) -> str:
    return path.read_text()


def _write(path: Path, text: str) -> None:
    path.write_text(text)
