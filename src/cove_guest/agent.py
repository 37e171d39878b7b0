# SPDX-License-Identifier: Apache-2.0
"""The guest agent: listens for the host's requests and for connections to relay to docker's socket or a container.

One thread accepts; each connection has its own thread, because nearly all of them wait all the time.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import os
import select
import sys
import time

from cove_guest import relay, wire, workers
from cove_guest.engine import Engine, wait_readable
from cove_guest.lean import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_USAGE = "usage: cove_guest [--network FILE] [--device NAME | --address IP] [--peer IP] [--control PORT] ..."

_SO_BINDTODEVICE = 25
_RTMGRP_LINK = 1
_CLONE_NEWNET = 0x40000000
_DEVICE_DEADLINE = 30.0
_ENGINE_DEADLINE = 30.0
"""Seconds a relayed connection waits for docker's socket to appear."""


class Options:
    """The command line: ``--NAME VALUE`` for each of the attributes.

    Args:
        argv: without the program's name.

    Raises:
        ValueError: an unknown name, or one without its value.
    """

    def __init__(self, argv: list[str]) -> None:
        self.network = ""
        self.device = ""
        self.address = "0.0.0.0"
        self.peer = ""
        self.control = "60997"
        self.relay = "60998"
        self.names = "192.168.127.2:60999"
        self.engine = "/run/docker.sock"
        self.containerd = ""
        self.console = "/dev/console"
        self.data = "/var/lib/docker"
        self.run = "/run/cove"
        self.init = "1"
        self.timesync = ""
        rest = iter(argv)
        for word in rest:
            value = next(rest, None)
            if not word.startswith("--") or word[2:] not in self.__dict__ or value is None:
                raise ValueError(f"{word}\n{_USAGE}")
            setattr(self, word[2:], value)


class Agent:
    """Both services of the agent.

    Args:
        options: the command line.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._engine = Engine(options.engine, lambda: self.stage("dockerd"))

    def serve(self) -> None:
        """Listen and serve for ever.

        Raises:
            OSError: the ports or the device cannot be had.
        """
        options = self._options
        services: dict[int, tuple[_socket.socket, Callable[[_socket.socket], None]]] = {}
        # a socket stays in the network it was made in; we go back, because what is relayed leads elsewhere
        with _Inside(options.network):
            for port, handle in ((options.control, self._control), (options.relay, self._relay)):
                listener = listen(options.device, options.address, int(port))
                services[listener.fileno()] = (listener, handle)
        self.stage("agent")
        _thread.start_new_thread(self._watch_engine, ())
        if options.containerd:
            _thread.start_new_thread(self._watch_containerd, (options.containerd,))
        if options.timesync:
            _thread.start_new_thread(self._follow_time, (int(options.timesync),))
        poll = select.poll()
        for number in services:
            poll.register(number, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                self._accept(*services[number])

    def stage(self, name: str) -> None:
        """Tell the console that a stage of the boot is reached. Never blocks, never fails."""
        try:
            with open("/proc/uptime", "rb") as uptime:
                line = f"cove-stage {name} {float(uptime.read().split()[0]):.2f}\n"
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            console = os.open(self._options.console, flags)
            try:
                os.write(console, line.encode())
            finally:
                os.close(console)
        except OSError as error:
            log(f"stage {name} could not be told: {error}")

    def _accept(self, listener: _socket.socket, handle: Callable[[_socket.socket], None]) -> None:
        try:
            number, address = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - accept() belongs to socket.py
        except BlockingIOError:
            return  # it hung up before we came
        except OSError as error:
            log(f"accept: {error}")
            time.sleep(0.1)  # out of descriptors: no event tells when one is free again
            return
        connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, number)
        if self._options.peer and address[0] != self._options.peer:
            log(f"refused a connection from {address[0]}")
            connection.close()
            return
        try:
            workers.start(lambda: handle(connection))
        except RuntimeError as error:
            log(f"no thread for a connection: {error}")
            connection.close()

    def _watch_engine(self) -> None:
        """Tell the stage "engine" once, when docker answers for the first time since we started."""
        try:
            self._engine.wait(float("inf"))
        except wire.RefusedError as error:
            log(f"docker is not watched: {error}")
        else:
            self.stage("engine")

    def _watch_containerd(self, path: str) -> None:
        """Tell the stage "containerd" once, when it listens: only for the table of a start's stages."""
        try:
            Engine(path).connect(float("inf")).close()
        except wire.RefusedError as error:
            log(f"containerd is not watched: {error}")
        else:
            self.stage("containerd")

    def _follow_time(self, port: int) -> None:
        from cove_guest import timesync

        try:
            timesync.serve_for_ever(port)
        except OSError as error:
            log(f"the host cannot tell the time after it slept: {error}")

    def _relay(self, connection: _socket.socket) -> None:
        try:
            where = relay.read_target(connection)
            if where != "docker":
                from cove_guest import target

                target.serve(connection, where, self._options.names)
                return
            engine = self._engine.connect(time.monotonic() + _ENGINE_DEADLINE, connection.fileno())
        except (wire.RefusedError, OSError) as error:
            log(f"relay: {error}")
            connection.close()
            return
        relay.relay(connection, engine)

    def _control(self, connection: _socket.socket) -> None:
        """One request of the host; what serves it is imported once the agent listens."""
        from cove_guest import control, requests

        options = self._options
        context = requests.Context(
            engine=self._engine, data=options.data, run=options.run, init=int(options.init)
        )
        try:
            control.serve(connection, context)
        except wire.MalformedError as error:
            log(f"malformed request: {error}")
        except OSError as error:
            log(f"connection lost: {error}")
        finally:
            connection.close()


class _Inside:
    """In the network namespace of a file (network_namespaces(7)) for a while; nowhere else without one."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        if self._path:
            self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            away = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            os.setns(away, _CLONE_NEWNET)  # type: ignore[attr-defined]  # the guest's Python has it
            os.close(away)

    def __exit__(self, *_error: object) -> None:
        if self._path:
            os.setns(self._home, _CLONE_NEWNET)  # type: ignore[attr-defined]
            os.close(self._home)


def listen(device: str, address: str, port: int) -> _socket.socket:
    """A listening TCP socket that only takes what arrives on ``device`` (any, if it is empty).

    Raises:
        OSError: the port is taken, or the device did not appear.
    """
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0)
    try:
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if device:
            _bind_to_device(listener, device)
        listener.bind((address, port))
        listener.listen(128)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind_to_device(listener: _socket.socket, device: str) -> None:
    """SO_BINDTODEVICE (socket(7)); waits for the device with the kernel's news of links (rtnetlink(7))."""
    news = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, 0)
    try:
        news.bind((0, _RTMGRP_LINK))
        end = time.monotonic() + _DEVICE_DEADLINE
        while True:
            try:
                listener.setsockopt(_socket.SOL_SOCKET, _SO_BINDTODEVICE, device.encode() + b"\0")
                return
            except OSError as error:
                if error.errno != errno.ENODEV or not wait_readable(news.fileno(), end):
                    raise
            news.recv(65536)
    finally:
        news.close()


def log(text: str) -> None:
    """One line on stderr, which the service's script keeps as the agent's log."""
    try:
        os.write(2, f"agent: {text}\n".encode(errors="replace"))
    except OSError:
        pass


def _end(_number: int, _frame: FrameType | None) -> None:
    """On SIGTERM: hang up on what exec runs, then go."""
    if spawn := sys.modules.get("cove_guest.spawn"):
        spawn.hang_up_all()
    os._exit(0)


def main(argv: list[str]) -> int:
    """Run the agent; it only returns when it cannot serve."""
    try:
        options = Options(argv)
    except ValueError as error:
        log(str(error))
        return 2
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # a program's pipes must never be numbered as its stdin, stdout or stderr
    os.close(spare)
    signals.signal(signals.SIGTERM, _end)
    _thread.stack_size(256 << 10)
    try:
        Agent(options).serve()
    except OSError as error:
        log(f"cannot serve: {error}")
    return 1
