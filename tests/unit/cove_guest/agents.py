# SPDX-License-Identifier: Apache-2.0
"""The real agent as a child process on loopback, with a real server behind the relay."""

from __future__ import annotations

import contextlib
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3] / "src"
WAIT = 20.0
FUTEX = {"x86_64": "202"}.get(platform.machine(), "98")
"""The number of futex(2), in which a thread waits for work."""


def free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that no event tells this process of."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, f"waited {WAIT:.0f} s for {what}"
        time.sleep(0.01)


class Agent:
    """A running agent."""

    def __init__(self, folder: Path, *options: str, peer: str = "127.0.0.1") -> None:
        self.control, self.relay, self.names = free_ports(3)
        self.engine = folder / "docker.sock"
        self.console = folder / "console"
        self.run = folder / "run"
        self.run.mkdir()
        self.console.touch()
        self.log = folder / "agent.log"
        argv = [
            sys.executable, "-E", "-s", "-S", str(SOURCE / "cove_guest"), "--address", "0.0.0.0",
            "--peer", peer, "--control", str(self.control), "--relay", str(self.relay),
            "--names", f"127.0.0.1:{self.names}",
            "--engine", str(self.engine), "--console", str(self.console), "--run", str(self.run),
            "--data", str(folder), "--init", "-1", *options,
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(lambda: self.process.poll() is not None or self.stages(), "the agent to listen")
            assert self.process.poll() is None, self.log.read_text()
            until(self._watches, "the agent to watch for the engine")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    @property
    def address(self) -> str:
        return f"tcp:127.0.0.1:{self.control}"

    def stages(self) -> list[str]:
        return [line.split()[1] for line in self.console.read_text().splitlines()]

    def dial(self, port: int, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), WAIT, (source, 0))

    def _watches(self) -> bool:
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                if str(each.readlink()) == "anon_inode:inotify":
                    return True
        return False

    def idle(self) -> bool:
        """Nothing but the accepting thread runs, and the one that watches for an engine; others wait for work."""
        calls = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                calls.append((task / "syscall").read_text().split()[0])
        return len([call for call in calls if call != FUTEX]) <= 2

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(WAIT) == 0, self.log.read_text()
        finally:
            self.process.kill()


class UnixServer:
    """A server on a unix socket: each connection is given to ``handle`` in a thread of its own.

    The agent's ping is answered as docker would.
    """

    def __init__(self, path: Path, handle: Callable[[socket.socket], None]) -> None:
        self._handle = handle
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self.connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                ping = connection.recv(10, socket.MSG_PEEK).startswith(b"GET /_ping")
                (docker if ping else self._handle)(connection)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(WAIT)


def docker(connection: socket.socket) -> None:
    """As much of docker's API as the agent asks for, as dockerd answers HTTP/1.0."""
    line = connection.recv(65536).split(b"\r\n")[0].decode()
    answers = {
        "GET /_ping HTTP/1.0": "OK",
        "GET /version HTTP/1.0": '{"Version":"26.1.5","ApiVersion":"1.45","Secret":1}',
        "GET /info HTTP/1.0": '{"Containers":2,"Driver":"overlay2","ID":"x"}',
    }
    body = answers[line]
    connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def echo(connection: socket.socket) -> None:
    """Send back all that comes, also after the other side has ended its direction."""
    held = bytearray()
    while data := connection.recv(65536):
        held += data
    connection.sendall(held)
