# SPDX-License-Identifier: Apache-2.0
"""A machine whose VMM is a child process: what all such drivers share."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from cove.errors import ToolError
from cove.system.children import Child, spawn
from cove.system.process import Command, Identity
from cove.vmm.base import Exit, OnConsole, Runtime, cannot_suspend
from cove.vmm.console import Console, ConsoleLog

_PANIC = re.compile(r"Kernel panic - not syncing: (.*)")
_REASON_LINES = 3
_DRAIN = 2.0


class ProcessVm:
    """A running VMM, its console, and its power button. Made by :func:`start_process`.

    Args:
        child: the VMM.
        output: what it prints.
        console: reads what it prints.
        button: presses the guest's power button.
        terminal: our end of its terminal, to be closed when it has ended.
        ended: called when it has ended, once or more often.
    """

    def __init__(
        self,
        child: Child,
        output: asyncio.StreamReader,
        console: Console,
        button: Callable[[], Awaitable[None]],
        terminal: int | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._terminal = terminal
        self._ended = ended
        self._child = child
        self._console = console
        self._button = button
        self._pump = asyncio.create_task(console.pump(output), name=f"console of {child.name}")

    @property
    def identity(self) -> Identity:
        """The process of the VMM."""
        return self._child.identity

    async def wait(self) -> Exit:
        """Wait for the VMM's end and the last of its console."""
        code = await self._child.wait()
        self._ended()
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None
        # should a helper of the VMM survive and keep the pipe open, the exit is still told
        await asyncio.wait({self._pump}, timeout=_DRAIN)
        return describe_exit(self._child.name, code, self._console.last_words())

    def seal(self) -> None:
        """Its guest has booted; see :class:`cove.vmm.base.Vm`."""
        self._child.seal()

    async def power_button(self) -> None:
        """Ask the guest to shut down; see :class:`cove.vmm.base.Vm`."""
        await self._button()

    async def kill(self) -> None:
        """End the VMM with SIGKILL; returns when it is gone and its console is read to the end."""
        self._child.kill()
        await self.wait()

    async def save(self, target: Path) -> None:  # noqa: ARG002
        """Refused; a VMM that can has a class of its own."""
        raise cannot_suspend(self._child.name)

    async def go_on(self) -> None:
        """Refused; a VMM that can has a class of its own."""
        raise cannot_suspend(self._child.name)

    async def stalled(self) -> None:
        """Never; a VMM that stops its guest has a class of its own."""
        await asyncio.Event().wait()


async def start_process(
    command: Command,
    runtime: Runtime,
    on_console: OnConsole,
    *,
    name: str,
    button: Callable[[], Awaitable[None]],
    terminal: bool = False,
    ended: Callable[[], None] = lambda: None,
) -> ProcessVm:
    """Start a VMM that prints the guest's console on its stdout; its own messages come in between.

    Args:
        command: the whole command.
        runtime: names the console's log.
        on_console: gets every line.
        name: of the VMM, for messages.
        button: presses the guest's power button.
        terminal: its stdin is a terminal on which nobody types, instead of nothing.
        ended: called when it has ended, once or more often.

    Raises:
        StorageError: the console's log cannot be created.
        ToolError: the VMM cannot be started.
    """
    console = Console(ConsoleLog(runtime.console_log), on_console)
    ours, theirs = os.openpty() if terminal else (None, None)
    try:
        child = await spawn(
            command,
            name=name,
            stdout_pipe=True,
            merge_stderr=True,
            cwd=runtime.folder,
            host_cpu=runtime.host_cpu,
            confinement=runtime.confinement,
            terminal=theirs,
        )
    except BaseException:
        console.close()
        if ours is not None:
            os.close(ours)
        raise
    finally:
        if theirs is not None:
            os.close(theirs)
    if child.stdout is None:  # asked for just above; this is for the type checker
        raise ToolError(f"{name} was started without a pipe")
    return ProcessVm(child, child.stdout, console, button, ours, ended)


def describe_exit(name: str, code: int, console: Sequence[str]) -> Exit:
    """Tell how a VMM ended from its exit code and the last lines of the console.

    The kernel's own words are looked for because the exit code does not tell: QEMU ends with 0 after a panic.
    They are printed at the level EMERG, so also under "quiet".

    Args:
        name: of the VMM.
        code: its exit code, negative for a signal.
        console: the lines that tell of panics and restarts, then the last lines printed, oldest first.
    """
    for line in console:
        if found := _PANIC.search(line):
            return Exit(ending="panic", code=code, reason=f"the guest's kernel panicked: {found[1].strip()}")
    if code == 0 and any("reboot: Restarting system" in line for line in console):
        return Exit(ending="reboot", code=code, reason="the guest asked for a restart")
    if code == 0:
        return Exit(ending="shutdown", code=code, reason="the guest shut down")
    if code < 0:
        hint = " (out of memory, or killed by hand)" if code == -signal.SIGKILL else ""
        return Exit(
            ending="killed", code=code, reason=f"{name} was ended by {signal.Signals(-code).name}{hint}"
        )
    last = " / ".join(line.strip() for line in console[-_REASON_LINES:])
    reason = f"{name} failed with exit code {code}" + (f": {last}" if last else "")
    return Exit(ending="failed", code=code, reason=reason)
