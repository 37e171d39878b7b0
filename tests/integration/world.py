# SPDX-License-Identifier: Apache-2.0
"""What integration tests do as a user would: run the real ``cove`` in a home, in a pipe or in a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

BUSYBOX = "cove.internal/busybox"
COVE = Path(sys.executable).parent / "cove"
"""The installed command of the environment that runs the tests."""

DEADLINE = 180.0
"""Seconds for any one command; an emulated machine on a busy host is slow."""

Result = subprocess.CompletedProcess[bytes]
T = TypeVar("T")

_SETTINGS = re.compile(r"COVE_(HOME|TOOLS|PYTHON|TEST_\w+)|DOCKER_\w+|COMPOSE_\w+|BUILDX_\w+|NO_COLOR")
# a new session with our end of the pair as its terminal; setsid(1) is not everywhere
_LEAD_SESSION = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def wait_until(look: Callable[[], T], what: str, *, deadline: float = 60.0) -> T:
    """Look until there is something; for what tells nobody that it came. Returns what was found."""
    end = time.monotonic() + deadline
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"not within {deadline:.0f} s: {what}"
        time.sleep(0.1)


def clean_environment(**changes: str) -> dict[str, str]:
    """Our environment without what would lead ``cove`` or docker elsewhere."""
    return {name: value for name, value in os.environ.items() if not _SETTINGS.fullmatch(name)} | changes


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@dataclass
class Home:
    """One ``COVE_HOME``; :meth:`close` leaves nothing of it running or lying about.

    Args:
        root: the folder, with a short path (sockets lie in it).
        cache: ``COVE_CACHE``; None leaves it to Cove.
        env: further settings.
        enter: a command that runs the rest of its arguments where the home is seen.
    """

    root: Path
    cache: Path | None
    env: dict[str, str] = field(default_factory=dict)
    enter: tuple[str, ...] = ()

    @classmethod
    def make(cls, cache: Path | None, **env: str) -> Home:
        """A new, empty home."""
        return cls(Path(tempfile.mkdtemp(prefix="cove-it-", dir="/tmp")), cache, env)

    @property
    def environment(self) -> dict[str, str]:
        """What ``cove`` is started with."""
        cache = {"COVE_CACHE": str(self.cache)} if self.cache else {}
        # a home's machines have their contexts there, not in the configuration of whoever runs the tests
        docker = {"DOCKER_CONFIG": str(self.root / "user")}
        return clean_environment(**{"COVE_HOME": str(self.root), **cache, **docker, **self.env})

    def cove(
        self,
        *args: str | Path,
        stdin: bytes = b"",
        code: int | None = 0,
        deadline: float = DEADLINE,
        cwd: Path | None = None,
    ) -> Result:
        """Run ``cove`` to its end, and insist on its exit code (None: any)."""
        done = subprocess.run(
            [*self.enter, COVE, *args], input=stdin, capture_output=True, env=self.environment, timeout=deadline,
            cwd=cwd, check=False,
        )  # fmt: skip
        if code is not None:
            assert done.returncode == code, f"cove {args}: {done.returncode}\n{done.stdout!r}\n" + talk(done)
        return done

    @contextmanager
    def begun(self, *args: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """``cove``, started and not waited for; it is ended when the block is left."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(
            [*self.enter, COVE, *args], env=self.environment, **{**pipes, **options}
        ) as child:
            try:
                yield child
            finally:
                if child.poll() is None:
                    child.kill()

    def terminal(self, *args: str, rows: int = 24, columns: int = 80) -> Terminal:
        """``cove`` in a terminal of its own."""
        return Terminal([str(COVE), *args], {**self.environment, "TERM": "xterm"}, rows=rows, columns=columns)

    def json(self, *args: str) -> Any:
        """What a reporting command says with ``--json``, whatever its exit code."""
        done = self.cove(*args, "--json", code=None)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"cove {args}: {done.stdout!r}\n{talk(done)}") from None

    def machine(self, name: str = "default") -> Machine:
        """A handle on a machine, there or not."""
        return Machine(self, name)

    def names(self) -> list[str]:
        """All machines."""
        return [one["name"] for one in self.json("list")]

    def tails(self, lines: int = 30) -> str:
        """The ends of all logs, for a failed test's report."""
        found = []
        for path in sorted(self.root.glob("m/*/*")):
            if path.name in ("state.json", "supervisor.log", "console.log", "gvproxy.log"):
                text = path.read_text(errors="replace").splitlines()[-lines:]
                found.append("\n".join([f"--- {path}", *text]))
        return "\n".join(found)

    def close(self) -> None:
        """Delete every machine and the folder, whatever state they are in."""
        pids = self._pids()
        for state in self.root.glob("m/*/state.json"):
            self.cove("delete", "-f", state.parent.name, code=None)
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)
        # container files of docker's configuration may be read-only; what cannot go must be said
        shutil.rmtree(self.root)
        assert not list(filter(alive, pids)), "processes survived their machine's deletion"

    def _pids(self) -> list[int]:
        states = [json.loads(path.read_text()) for path in self.root.glob("m/*/state.json")]
        return [pid for state in states for pid, _ in state["processes"].values()]


@dataclass(frozen=True)
class Machine:
    """One machine of a home, spoken to by the real command."""

    home: Home
    name: str

    def run(self, *args: str, **options: Any) -> Result:
        """``cove run``."""
        return self.home.cove("-m", self.name, "run", *args, **options)

    def docker(self, *args: str | Path, **options: Any) -> Result:
        """``cove docker``."""
        return self.home.cove("-m", self.name, "docker", *args, **options)

    def shell(self, *args: str, **options: Any) -> Result:
        """``cove shell``."""
        return self.home.cove("-m", self.name, "shell", *args, **options)

    def start(self, **options: Any) -> Result:
        """``cove start``."""
        return self.home.cove("start", self.name, **options)

    def sh(self, script: str, *options: str, **more: Any) -> str:
        """What a shell script prints in a busybox container."""
        return self.run("--rm", *options, BUSYBOX, "sh", "-c", script, **more).stdout.decode()

    def inspect(self) -> dict[str, Any]:
        """All that ``cove inspect`` says."""
        found: dict[str, Any] = self.home.json("inspect", self.name)[0]
        return found

    def processes(self) -> dict[str, int]:
        """Supervisor, gvproxy and VMM."""
        found: dict[str, int] = self.inspect()["processes"]
        return found

    def boot_id(self) -> str:
        """What the guest's kernel drew at its start."""
        return self.shell("cat", "/proc/sys/kernel/random/boot_id").stdout.decode().strip()

    def disk_size(self) -> int:
        """Bytes of the guest's file system for data, as df(1) says there."""
        return int(self.shell("df", "-Pk", "/var/lib").stdout.split()[-5]) * 1024

    @property
    def socket(self) -> str:
        """``DOCKER_HOST``, as ``cove env`` says."""
        found: str = self.home.json("env", self.name)["DOCKER_HOST"]
        return found


class Terminal:
    """A program in a pseudo-terminal of its own, as a person sits before it."""

    def __init__(
        self, argv: Sequence[str], env: dict[str, str], *, rows: int = 24, columns: int = 80
    ) -> None:
        self._ours, theirs = os.openpty()
        self._seen = b""
        self.resize(rows, columns)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _LEAD_SESSION, *argv],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env=env,
            )
        finally:
            os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self.hang_up()

    @property
    def pid(self) -> int:
        """The program's process, which leads its session and its group."""
        return self._child.pid

    @property
    def text(self) -> str:
        """Everything printed so far that no :meth:`expect` has passed."""
        return self._seen.decode(errors="replace")

    def resize(self, rows: int, columns: int) -> None:
        """As when a person pulls at the window: the kernel sends SIGWINCH to the foreground."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Type; "\\x03" is Ctrl-C."""
        os.write(self._ours, text.encode())

    def expect(self, pattern: str, *, deadline: float = 60.0) -> re.Match[str]:
        """Read until ``pattern`` appears; the next search begins behind it."""
        end = time.monotonic() + deadline
        while not (found := re.search(pattern, self.text)):
            left = end - time.monotonic()
            assert self._read(left), f"no {pattern!r} in:\n{self.text}"
        self._seen = self.text[found.end() :].encode()
        return found

    def wait(self, deadline: float = 60.0) -> int:
        """The exit code; what is printed until then is kept."""
        end = time.monotonic() + deadline
        while self._read(end - time.monotonic()):
            pass
        return self._child.wait(max(0.1, end - time.monotonic()))

    def hang_up(self) -> None:
        """Close the window: the kernel sends SIGHUP to the session's leader."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def _read(self, patience: float) -> bool:
        """Take what is there; False when an end of the line was let go, or time ran out."""
        if self._ours < 0 or patience <= 0 or not select.select([self._ours], [], [], patience)[0]:
            return False
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # EIO: the last one let go
            return False
        self._seen += piece
        return bool(piece)


def talk(done: Result) -> str:
    """What a command said to people."""
    return done.stderr.decode(errors="replace")
