# SPDX-License-Identifier: Apache-2.0
"""Talk to the guest agent. Synchronous, standard library only: it lies on the path of every command."""

from __future__ import annotations

import socket as sockets
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cove.errors import DeadlineError
from cove.guest import protocol
from cove.guest.protocol import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ExecResult:
    """How a program in the guest ended.

    Args:
        code: its exit code as a shell shows it: 128 + n when signal n ended it.
        stdout: all it printed.
        stderr: all it complained.
    """

    code: int
    stdout: bytes
    stderr: bytes


class GuestClient:
    """The agent of one guest. Holds no connection; any number of threads may use it.

    Args:
        socket: the unix socket that leads to the agent; ``tcp:HOST:PORT`` reaches one directly.
        deadline: seconds for connecting, and for an answer on top of what a request itself may take.
    """

    def __init__(self, socket: Path | str, *, deadline: float = 10) -> None:
        self._address = str(socket)
        self._deadline = deadline

    def call(self, op: str, **args: object) -> dict[str, Any]:
        """One operation; see DESIGN.md for each one's arguments and reply.

        An argument ``deadline`` (seconds) is the guest's own; the answer is waited for that much longer.

        Raises:
            GuestError: the agent refused it (``code`` is its word for why), or cannot be reached
                (``code`` is ``unreachable``).
            DeadlineError: no answer in time.
        """
        own = args.get("deadline", 0)
        wait = self._deadline + (own if isinstance(own, int | float) else 0)
        with self._connected(f"the operation {op}", wait) as connection:
            connection.sendall(protocol.request(op, args))
            decoder = protocol.Decoder()
            end = time.monotonic() + wait
            while data := _receive(connection, end):
                for frame in decoder.feed(data):
                    if frame.kind is Kind.REPLY:
                        return frame.json()
                    raise protocol.refusal(frame)
            raise protocol.unreachable("the guest agent hung up without an answer")

    def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        stdin: bytes = b"",
        deadline: float | None = None,
    ) -> ExecResult:
        """Run a program in the guest to its end and keep what it prints.

        Args:
            argv: the program, looked up in the guest's PATH, and its arguments.
            env: variables on top of the guest's few.
            cwd: its folder in the guest.
            user: ``USER[:GROUP]``, by default root.
            stdin: what it reads.
            deadline: seconds it may take, by default the client's. It is killed after that.

        Raises:
            GuestError: it could not be started, or the connection was lost (then it is killed).
            DeadlineError: it took too long.
        """
        from cove.guest.session import MemorySink, MemorySource, Session

        limit = self._deadline if deadline is None else deadline
        opening = _opening(argv, env=env, cwd=cwd, user=user)
        out, err = MemorySink(), MemorySink()
        with self._connected(_name(argv), limit) as connection:
            session = Session(connection, opening, source=MemorySource(stdin), out=out, err=err)
            code = session.run(end=time.monotonic() + limit)
        return ExecResult(code=code, stdout=bytes(out.data), stderr=bytes(err.data))

    def interactive(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        tty: bool | None = None,
    ) -> int:
        """Run a program in the guest with our own stdin, stdout and stderr (descriptors 0, 1 and 2).

        Args:
            argv: the program, looked up in the guest's PATH, and its arguments.
            env: variables on top of the guest's few and, with a terminal, our TERM.
            cwd: its folder in the guest.
            user: ``USER[:GROUP]``, by default root.
            tty: give it a terminal; by default when our stdin and stdout are one. Ours is then raw until it
                ends, and restored whatever happens; resizing passes through. Without a terminal INT, TERM,
                HUP and QUIT are passed on.

        Returns:
            its exit code as a shell shows it.

        Raises:
            GuestError: it could not be started, or the connection was lost (then it is killed).
            DeadlineError: the agent did not start it in time.
        """
        from cove.guest import terminal

        with_terminal = terminal.is_ours() if tty is None else tty
        variables = {**(terminal.variables() if with_terminal else {}), **(env or {})}
        size = terminal.size() if with_terminal else {}
        opening = _opening(argv, env=variables, cwd=cwd, user=user, tty=with_terminal, **size)
        with self._connected(_name(argv), self._deadline) as connection:
            return terminal.attach(connection, opening, tty=with_terminal, start_within=self._deadline)

    @contextmanager
    def _connected(self, doing: str, limit: float) -> Iterator[sockets.socket]:
        """A connection; what goes wrong with it becomes one of our errors, and it is closed in the end."""
        connection = None
        try:
            connection = self._dial()
            yield connection
        except TimeoutError as error:
            raise DeadlineError(
                f"the guest did not finish {doing} within {limit:.0f} s",
                hint="cove logs shows what the guest is doing.",
            ) from error
        except (ConnectionError, FileNotFoundError, PermissionError) as error:
            raise protocol.unreachable(
                f"the guest agent cannot be reached: {error.strerror or error}"
            ) from error
        finally:
            if connection is not None:
                connection.close()

    def _dial(self) -> sockets.socket:
        if self._address.startswith("tcp:"):
            _, host, port = self._address.split(":")
            return sockets.create_connection((host, int(port)), self._deadline)
        connection = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        try:
            connection.settimeout(self._deadline)
            connection.connect(self._address)
        except BaseException:
            connection.close()
            raise
        return connection


def _opening(argv: Sequence[str], *, env: Mapping[str, str] | None, **rest: object) -> bytes:
    return protocol.request("exec", {"argv": list(argv), "env": dict(env or {}), **rest})


def _name(argv: Sequence[str]) -> str:
    return f"{argv[0] if argv else 'exec'} in the guest"


def _receive(connection: sockets.socket, end: float) -> bytes:
    connection.settimeout(max(0.001, end - time.monotonic()))
    return connection.recv(65536)
