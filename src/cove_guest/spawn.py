# SPDX-License-Identifier: Apache-2.0
"""Start a program for ``exec``: what to start, its terminal or pipes, its user, its end.

fork and exec by hand, because ``subprocess`` takes 100 ms to import from source. Between the two only plain
system calls run, so that the other threads' locks cannot matter.
"""

from __future__ import annotations

import fcntl
import os
import select
import termios

from cove_guest import accounts
from cove_guest.lean import signals
from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE = 2.0
"""Seconds between SIGHUP and SIGKILL for a program whose peer is gone."""

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126

_IGNORED = (signals.SIGPIPE, signals.SIGXFSZ, signals.SIGHUP, signals.SIGINT, signals.SIGQUIT)
"""What Python ignores (the first two), and what a parent of the agent may have ignored."""

live: set[int] = set()
"""Leaders of the sessions that run now; they are hung up when the agent ends."""


class Program:
    """What an ``exec`` request asks for, checked.

    Args:
        arguments: of the request: argv, and optionally env, cwd, user, tty, rows, cols.

    Raises:
        RefusedError: ``bad-argument`` or ``no-user``.
    """

    def __init__(self, arguments: dict[str, object]) -> None:
        argv = arguments.get("argv")
        if not isinstance(argv, list) or not argv or not all(_plain(each) for each in argv):
            raise RefusedError("bad-argument", "argv must be a list of strings, and not empty")
        env = arguments.get("env") or {}
        if not isinstance(env, dict) or not all(_plain(key) and _plain(value) for key, value in env.items()):
            raise RefusedError("bad-argument", "env must be an object of strings")
        cwd, user = arguments.get("cwd") or "/", arguments.get("user") or ""
        if not (isinstance(cwd, str) and isinstance(user, str) and "\0" not in cwd):
            raise RefusedError("bad-argument", "cwd and user must be strings")
        self.argv: list[str] = argv
        self.cwd = cwd
        self.tty = arguments.get("tty") is True
        self.size = window_size(arguments)
        self.ids, known = accounts.resolve(user)
        self.env: dict[str, str] = {"PATH": _PATH, **known, **env}


def _plain(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def window_size(arguments: dict[str, object]) -> bytes:
    """The ``rows`` and ``cols`` of a request or resize frame as struct winsize (ioctl_tty(2)).

    Raises:
        RefusedError: ``bad-argument``: a number no terminal can have.
    """
    size = b""
    for name, usual in (("rows", 24), ("cols", 80)):
        number = arguments.get(name, usual)
        if not isinstance(number, int) or not 0 <= number <= 65535:
            raise RefusedError("bad-argument", f"{name} must be a number up to 65535")
        size += number.to_bytes(2, "little")
    return size + bytes(4)


def candidates(name: str, path: str) -> list[str]:
    """The files that a shell would try for the command ``name``, in order."""
    return [name] if "/" in name else [f"{folder or '.'}/{name}" for folder in path.split(":")]


class Child:
    """A started program, leader of a session of its own.

    ``stdin``, ``stdout`` and ``stderr`` are our ends, non-blocking, -1 once closed. With a terminal, stdin
    and stdout are the same descriptor and stderr is -1.
    """

    def __init__(self, pid: int, ends: tuple[int, int, int]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = ends
        self.tty = ends[0] == ends[1]
        self.handle = os.pidfd_open(pid)
        live.add(pid)

    def close(self, end: int) -> None:
        """Close one of our ends, under each of its names."""
        os.close(end)
        self.stdin, self.stdout, self.stderr = (
            -1 if each == end else each for each in (self.stdin, self.stdout, self.stderr)
        )

    def signal(self, number: int) -> None:
        """Signal what is in the foreground: of the terminal, or the whole group."""
        try:
            group = os.tcgetpgrp(self.stdin) if self.tty and self.stdin >= 0 else self.pid
            os.killpg(group or self.pid, number)
        except OSError:
            pass  # it ended meanwhile

    def resize(self, size: bytes) -> None:
        """Set the terminal's size; the kernel tells the program (SIGWINCH)."""
        if self.tty and self.stdin >= 0:
            fcntl.ioctl(self.stdin, termios.TIOCSWINSZ, size)

    def reap(self) -> int:
        """Collect the ended program: its exit code, or minus the signal that ended it."""
        _, status = os.waitpid(self.pid, 0)
        live.discard(self.pid)
        os.close(self.handle)
        return os.waitstatus_to_exitcode(status)

    def release(self) -> None:
        """Close all our ends that are open."""
        for end in {self.stdin, self.stdout, self.stderr} - {-1}:
            self.close(end)

    def hang_up(self) -> None:
        """End it and all of its session: SIGHUP, a moment to tidy up, SIGKILL. Nothing of it is left."""
        self.release()
        for number in (signals.SIGHUP, signals.SIGCONT):
            try:
                os.killpg(self.pid, number)
            except OSError:
                break
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        poll.poll(_GRACE * 1000)
        kill_session(self.pid)  # before reaping: until then nobody else can have its number
        self.reap()


def kill_session(leader: int) -> None:
    """SIGKILL to every process of the session, also those that moved to another process group."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    session = int(stat.read().rpartition(b")")[2].split()[3])
                if session == leader:
                    os.kill(int(name), signals.SIGKILL)
            except (OSError, IndexError):
                pass  # it ended while we looked


def spawn(program: Program) -> Child:
    """Start it. One that cannot be executed says so on its stderr and ends with 127 or 126, as in a shell.

    Raises:
        OSError: no more processes, descriptors or terminals.
    """
    opened: list[int] = []
    pid = 0
    try:
        inner, outer = _terminal(program.size, opened) if program.tty else _pipes(opened)
        pid = os.fork()
        if pid == 0:
            _become(program, inner)
        child = Child(pid, outer)
    except BaseException:
        for handle in opened:
            os.close(handle)
        if pid:
            os.kill(pid, signals.SIGKILL)
            os.waitpid(pid, 0)
        raise
    for handle in set(inner):
        os.close(handle)
    for handle in set(outer) - {-1}:
        os.set_blocking(handle, False)
    return child


def _pipes(opened: list[int]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    for _ in range(3):
        opened.extend(os.pipe2(os.O_CLOEXEC))
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = zip(
        opened[::2], opened[1::2], strict=True
    )
    return (in_read, out_write, err_write), (in_write, out_read, err_read)


def _terminal(size: bytes, opened: list[int]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    master, slave = os.openpty()
    opened.extend((master, slave))
    fcntl.ioctl(master, termios.TIOCSWINSZ, size)
    return (slave, slave, slave), (master, master, -1)


def _become(program: Program, inner: tuple[int, int, int]) -> NoReturn:
    """In the child: take on everything and exec. Never returns, whatever happens."""
    code = _NOT_EXECUTABLE
    try:
        os.setsid()
        for number in _IGNORED:  # exec keeps what is ignored
            signals.signal(number, signals.SIG_DFL)
        for target, source in enumerate(inner):
            os.dup2(source, target)
        if program.tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if program.ids is not None:
            uid, gid, groups = program.ids
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
        os.chdir(program.cwd)
        code, reason = _execute(program)
        os.write(2, f"cove: {program.argv[0]}: {reason}\n".encode(errors="replace"))
    except OSError as error:
        os.write(
            2, f"cove: {program.argv[0]}: {error.strerror}: {error.filename or ''}\n".encode(errors="replace")
        )
    finally:
        os._exit(code)


def _execute(program: Program) -> tuple[int, str]:
    """Exec the first candidate that can be; otherwise say the exit code and the reason."""
    code, reason = _NOT_FOUND, "not found"
    for path in candidates(program.argv[0], program.env["PATH"]):
        try:
            os.execve(path, program.argv, program.env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            code, reason = _NOT_EXECUTABLE, error.strerror or str(error)
    return code, reason


def hang_up_all() -> None:
    """SIGHUP to every running session: the agent itself is about to end."""
    for pid in list(live):
        try:
            os.killpg(pid, signals.SIGHUP)
        except OSError:
            pass
