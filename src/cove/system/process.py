# SPDX-License-Identifier: Apache-2.0
"""The one place that starts programs.

``run`` is for short programs and waits; ``replace`` becomes another program; ``detach`` starts a process that
outlives us; ``cove.system.children`` has ``spawn``, for long-lived children inside an event loop. Children are
known by pid and start time, so a pid that was given to another program meanwhile is never signalled.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cove.errors import CommandError, DeadlineError, ToolError

OUTPUT_TAIL = 4000
"""Characters of a failed program's output that its error keeps."""


@dataclass(frozen=True)
class Command:
    """A program ready to be started: its argv and what its environment needs on top of ours."""

    argv: tuple[str, ...]
    env: Mapping[str, str]

    def with_args(self, *args: str) -> Command:
        """The same program with more arguments."""
        return Command((*self.argv, *args), self.env)


@dataclass(frozen=True)
class Completed:
    """What a finished program printed."""

    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same pid.

    Args:
        pid: its number.
        started: its start in clock ticks since the host's boot (Linux, proc(5) stat field 22), "" if unknown.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The identity of the running process ``pid``, or None if there is none (a zombie counts as none)."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None if sys.platform == "linux" else cls._without_proc(pid)
        return None if fields[0] in "ZX" else cls(pid, fields[19])

    @classmethod
    def _without_proc(cls, pid: int) -> Identity | None:
        found = subprocess.run(
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return cls(pid, found.stdout.strip()) if found.stdout.strip() else None

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Identity.of(self.pid) == self

    def wait_gone(self, deadline: float) -> bool:
        """Wait at most ``deadline`` seconds until this process has ended; says whether it did."""
        if not self.alive():
            return True
        if hasattr(os, "pidfd_open"):
            return self._wait_pidfd(deadline)
        end = time.monotonic() + deadline
        while self.alive() and time.monotonic() < end:
            time.sleep(0.02)  # no event tells of the end of a process that is not our child (macOS)
        return not self.alive()

    def _wait_pidfd(self, deadline: float) -> bool:
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # the pid may have been given away just before it was opened
            return not self.alive() or bool(select.select([handle], [], [], deadline)[0])
        finally:
            os.close(handle)

    def signal_group(self, number: int) -> None:
        """Send a signal to its process group if it still runs (our children lead their own group)."""
        if self.alive():
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass
            except PermissionError:
                os.kill(self.pid, number)


def run(
    command: Command | Sequence[str],
    *,
    doing: str,
    deadline: float,
    stdin: bytes | Path | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a program to its end.

    Args:
        command: what to run; a plain sequence inherits our environment as it is.
        doing: what we want from it, for the error: "formatting the disk".
        deadline: seconds it may take; it is killed after that.
        stdin: what it reads, or the file that has it; nothing by default.
        cwd: its folder.

    Raises:
        ToolError: the program does not exist or cannot be executed.
        CommandError: it failed; holds the command, the exit code and the end of its output.
        DeadlineError: it took longer than ``deadline``.
    """
    argv, env = parts(command)
    with ExitStack() as stack:
        feed: dict[str, Any] = {"input": stdin or b""}
        if isinstance(stdin, Path):
            feed = {"stdin": stack.enter_context(stdin.open("rb"))}
        done = _run(argv, doing, capture_output=True, env=env, cwd=cwd, timeout=deadline, **feed)
    if done.returncode != 0:
        output = (done.stdout + done.stderr).decode(errors="replace")[-OUTPUT_TAIL:]
        raise CommandError(f"{doing} failed", argv=argv, returncode=done.returncode, output=output)
    return Completed(done.stdout, done.stderr)


def _run(argv: list[str], doing: str, **how: Any) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(argv, check=False, **how)
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(
            f"{doing}: {Path(argv[0]).name} did not end within {how['timeout']:.0f} s", details=" ".join(argv)
        ) from error
    except OSError as error:
        raise ToolError(f"{doing}: {argv[0]} cannot be started: {error.strerror}") from error


def replace(command: Command) -> NoReturn:
    """Become another program (exec). Terminal, signals and exit code pass through by themselves.

    Raises:
        ToolError: it cannot be executed.
    """
    argv, env = parts(command)
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores it, which the program would go on with; subprocess has the same default for children
    ours = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execve(argv[0], argv, env)
    except OSError as error:
        signal.signal(signal.SIGPIPE, ours)
        raise ToolError(f"{argv[0]} cannot be started: {error.strerror}") from error


def foreground(command: Command) -> int:
    """Run a program in our terminal and wait for it, whatever signals come; for those who have to clean up after it.

    What the terminal sends (Ctrl-C) reaches the program by itself; SIGTERM and SIGHUP are passed on to it.

    Returns:
        its exit code, 128 + n after signal n, as a shell has it.

    Raises:
        ToolError: it cannot be started.
    """
    argv, env = parts(command)
    sys.stdout.flush()
    sys.stderr.flush()
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: object) -> None:
        if child is not None and number in (signal.SIGTERM, signal.SIGHUP):
            child.send_signal(number)

    # handlers, and not SIG_IGN, which the program would inherit
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        child = subprocess.Popen(argv, env=env)
        code = child.wait()
    except OSError as error:
        raise ToolError(f"{argv[0]} cannot be started: {error.strerror}") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def own_age() -> float:
    """Seconds since this process was started, to 10 ms (proc(5), stat: field 22); 0 where nobody tells."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0


def detach(command: Command, *, log: Path, pass_fds: Sequence[int] = ()) -> int:
    """Start a process that survives us and our terminal: own session, no stdin, output to ``log``.

    Returns:
        its pid. It is our child until we end; nobody waits for it.
    """
    argv, env = parts(command)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, env=env, cwd="/",
            start_new_session=True, pass_fds=pass_fds,
        )  # fmt: skip
    except OSError as error:
        raise ToolError(f"{argv[0]} cannot be started: {error.strerror}") from error
    finally:
        os.close(handle)
    # a daemon thread reaps it, should it end before we do; Popen's destructor would only warn
    threading.Thread(target=child.wait, daemon=True).start()
    return child.pid


def parts(command: Command | Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The argv and the whole environment that a command is started with."""
    if isinstance(command, Command):
        return list(command.argv), {**os.environ, **command.env}
    return list(command), dict(os.environ)
