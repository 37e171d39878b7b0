# SPDX-License-Identifier: Apache-2.0
"""Long-lived child processes inside an event loop. Apart from ``process``: asyncio is slow to load for a CLI."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cove.errors import ToolError
from cove.system import seccomp
from cove.system.confine import Confinement, restrict_self, ruleset
from cove.system.hide import hide, stand_in
from cove.system.process import Command, Identity, parts

logger = logging.getLogger("cove.children")

_PR_SET_PDEATHSIG = 1


class Child:
    """A long-lived child process, in a process group of its own, that dies with us (Linux).

    Args:
        process: the process.
        name: what it is, for messages.
        seal: what :meth:`seal` closes, if it was started with calls to be sealed.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, name: str, seal: seccomp.Seal | None = None
    ) -> None:
        self._process = process
        self._seal = seal
        if seal is not None:
            asyncio.get_running_loop().add_reader(seal, seal.allow)
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

    @property
    def sealable(self) -> bool:
        """Whether :meth:`seal` will refuse it anything."""
        return self._seal is not None

    def seal(self) -> None:
        """It has started: refuse it the calls that its confinement names as sealed. Sealed twice is fine."""
        if self._seal is not None and self._seal.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._seal)
            self._seal.close()

    async def wait(self) -> int:
        """Wait for its end; returns its exit code, negative for a signal."""
        code = await self._process.wait()
        self.seal()  # nobody asks any more
        return code

    async def wait_within(self, deadline: float) -> bool:
        """Wait at most ``deadline`` seconds for its end; says whether it ended."""
        try:
            await asyncio.wait_for(self.wait(), deadline)
        except TimeoutError:
            return False
        return True

    async def stop(self, deadline: float) -> None:
        """End it: SIGTERM, then after ``deadline`` seconds SIGKILL, to its whole group; returns when it is gone."""
        if self.returncode is None:
            self.identity.signal_group(signal.SIGTERM)
            if not await self.wait_within(deadline):
                self.kill()
        await self.wait()

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
    ours, theirs = socket.socketpair()
    try:
        with ruleset(confinement) as rules:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=subprocess.PIPE if stdout_pipe else output if terminal is None else terminal,
                stderr=subprocess.STDOUT if merge_stderr else output, env=env, start_new_session=True,
                pass_fds=pass_fds, cwd=cwd, preexec_fn=_before_exec(host_cpu, rules, confinement, theirs),
            )  # fmt: skip
        child = Child(process, name, seccomp.receive(ours))
        calls = confinement.calls if confinement is not None else None
        if calls is not None and calls.sealed and not child.sealable:
            logger.warning("%s cannot be sealed on this host: it keeps the rights of its start", name)
        return child
    except OSError as error:
        raise ToolError(f"{name}: {argv[0]} cannot be started: {error.strerror}") from error
    except subprocess.SubprocessError as error:  # all that is told of a failure between fork and exec
        raise ToolError(f"{name}: {argv[0]} cannot be confined on this host") from error
    finally:
        os.close(output)
        ours.close()
        theirs.close()


def _before_exec(
    host_cpu: int | None,
    rules: int | None,
    confinement: Confinement | None = None,
    channel: socket.socket | None = None,
) -> Callable[[], None] | None:
    """What the child does before exec: end with its parent (prctl(2)), stay on its processor, be confined."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()
    calls = confinement.calls if confinement is not None and seccomp.available() else None

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
        if confinement is not None and confinement.stand_ins:
            with suppress(OSError):
                stand_in(confinement.stand_ins)
        if rules is not None:
            restrict_self(rules)  # mounts nothing any more
        if calls is not None and channel is not None:
            seccomp.refuse(calls, channel)

    return in_child
