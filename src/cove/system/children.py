# SPDX-License-Identifier: Apache-2.0
"""Long-lived child processes inside an event loop. Apart from ``process``: asyncio is slow to load for a CLI."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cove.errors import ToolError
from cove.system.confine import Confinement, restrict_self, ruleset
from cove.system.hide import hide
from cove.system.process import Command, Identity, parts

_PR_SET_PDEATHSIG = 1


class Child:
    """A long-lived child process, in a process group of its own, that dies with us (Linux)."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self.name = name
        self.identity = Identity.of(process.pid) or Identity(process.pid, "")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """What it prints, if it was started with ``stdout="pipe"``."""
        return self._process.stdout

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal, None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end; returns its exit code, negative for a signal."""
        return await self._process.wait()

    async def wait_within(self, deadline: float) -> bool:
        """Wait at most ``deadline`` seconds for its end; says whether it ended."""
        try:
            await asyncio.wait_for(self._process.wait(), deadline)
        except TimeoutError:
            return False
        return True

    async def stop(self, deadline: float) -> None:
        """End it: SIGTERM, then after ``deadline`` seconds SIGKILL, to its whole group; returns when it is gone."""
        if self.returncode is None:
            self.identity.signal_group(signal.SIGTERM)
            if not await self.wait_within(deadline):
                self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """SIGKILL to its whole group, now."""
        self.identity.signal_group(signal.SIGKILL)


async def spawn(
    command: Command,
    *,
    name: str,
    log: Path | None = None,
    stdout_pipe: bool = False,
    merge_stderr: bool = False,
    terminal: int | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
    host_cpu: int | None = None,
    confinement: Confinement | None = None,
) -> Child:
    """Start a long-lived child. Call it on the main thread: the kernel ties the child's life to that thread.

    Args:
        command: what to run.
        name: what it is, for messages: "gvproxy".
        log: where its output goes (appended); with ``stdout_pipe`` only its stderr.
        stdout_pipe: read its output through :attr:`Child.stdout`.
        terminal: what it reads and prints to: a descriptor of the caller's; its stderr goes to ``log``.
        merge_stderr: its stderr goes where its stdout goes, in order.
        pass_fds: descriptors it inherits.
        cwd: its folder.
        host_cpu: the one processor that it and its children may use; ignored where that cannot be said (macOS).
        confinement: the files and ports that it may use, where the host's kernel can hold it to that.

    Raises:
        ToolError: it cannot be started.
    """
    argv, env = parts(command)
    output = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        with ruleset(confinement) as rules:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=subprocess.PIPE if stdout_pipe else output if terminal is None else terminal,
                stderr=subprocess.STDOUT if merge_stderr else output, env=env, start_new_session=True,
                pass_fds=pass_fds, cwd=cwd, preexec_fn=_before_exec(host_cpu, rules, confinement),
            )  # fmt: skip
    except OSError as error:
        raise ToolError(f"{name}: {argv[0]} cannot be started: {error.strerror}") from error
    finally:
        os.close(output)
    return Child(process, name)


def _before_exec(
    host_cpu: int | None, rules: int | None, confinement: Confinement | None = None
) -> Callable[[], None] | None:
    """What the child does before exec: end with its parent (prctl(2)), stay on its processor, be confined."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(127)
        if host_cpu is not None:
            with suppress(OSError):  # the processor went offline, or left our cpuset: it is only slower
                os.sched_setaffinity(0, {host_cpu})
        if confinement is not None and confinement.hide:
            with suppress(OSError):  # the host allows no namespaces of our own
                hide(confinement.hide, keep=(*confinement.read, *confinement.write))
        if rules is not None:
            restrict_self(rules)  # mounts nothing any more

    return in_child
