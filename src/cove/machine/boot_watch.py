# SPDX-License-Identifier: Apache-2.0
"""Hears what a guest says on its console while it starts, and keeps the last lines for errors."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from cove.errors import MachineError
from cove.machine.course import Course
from cove.machine.stages import GUEST_STAGES, GaveUp, Reached, Stage, parse_console

log = logging.getLogger("cove.supervisor")

TAIL = 25
"""Console lines that an error about a failed start carries."""


class BootWatch:
    """The console of one run of one machine, line by line.

    Args:
        name: the machine's name, for errors.
        console_log: where all of the console is, for errors.
        course: told of the stages that the guest names.

    Attributes:
        guest_stopped: whether the guest said that all is flushed and it is about to end.
    """

    def __init__(self, name: str, console_log: Path, course: Course | None = None) -> None:
        self._course = course or Course()
        self.guest_stopped = False
        self._name = name
        self._log = console_log
        self._said: asyncio.Queue[Reached | GaveUp] = asyncio.Queue()
        self._tail: deque[str] = deque(maxlen=TAIL)

    @property
    def tail(self) -> str:
        """The last lines, oldest first."""
        return "\n".join(self._tail)

    def on_console(self, line: str) -> None:
        """Take one line; see :data:`cove.vmm.base.OnConsole`."""
        self._tail.append(line)
        said = parse_console(line)
        if said is not None:
            log.info("the guest: %s", line)
            self._said.put_nowait(said)
            if isinstance(said, Reached):
                self._note(said)
            self.guest_stopped |= isinstance(said, Reached) and said.name == "stopped"

    def _note(self, said: Reached) -> None:
        if said.name == GUEST_STAGES[0].name:
            self._course.reach("firmware", ago=said.uptime)
        self._course.reach(said.name)

    async def reach(self, stage: Stage, end_of_child: Callable[[], Awaitable[str]]) -> None:
        """Wait until the guest says that it reached the stage.

        Args:
            stage: which one.
            end_of_child: waits for the end of what the guest runs on; returns why it ended.

        Raises:
            MachineError: the guest gave up, something ended, or the stage's deadline passed.
        """
        heard = asyncio.ensure_future(self._hear(stage.name))
        end = asyncio.ensure_future(end_of_child())
        await asyncio.wait({heard, end}, timeout=stage.deadline, return_when=asyncio.FIRST_COMPLETED)
        for task in (heard, end):
            task.cancel()
        if heard.done() and not heard.cancelled():
            heard.result()
        elif end.done() and not end.cancelled():
            raise self._error(end.result())
        else:
            raise self._error(f"nothing within {stage.deadline:.0f} s of {stage.label.lower()!r}")

    async def _hear(self, name: str) -> None:
        while True:
            said = await self._said.get()
            if isinstance(said, GaveUp):
                raise self._error(said.reason)
            if said.name == name:
                return

    def _error(self, reason: str) -> MachineError:
        return MachineError(
            f"{self._name} did not start: {reason}",
            details=f"the end of its console:\n{self.tail}" if self._tail else None,
            hint=f"cove logs {self._name} --source console shows all of it. The data disk was not touched.",
            log=self._log,
        )
