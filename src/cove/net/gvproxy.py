# SPDX-License-Identifier: Apache-2.0
"""gvproxy as a child process: its command line, its start, its end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

from cove.errors import ConflictError, DeadlineError, NetworkError, NotFoundError, ToolError
from cove.net.api import GvproxyApi
from cove.net.forwards import GUEST, Forward
from cove.spec.machine import Driver
from cove.system.children import Child, spawn
from cove.system.confine import Confinement
from cove.system.files import write_atomic
from cove.system.process import Command, Identity

PROGRAM = "gvproxy"

START_DEADLINE = 10.0
"""Seconds until gvproxy's sockets are there; it takes some 50 ms."""

_PORT_TRIES = 5
_LOOK_AGAIN = 0.01
_LOG_TAIL = 2000
_RESOLV_CONF = Path("/etc/resolv.conf")
_NEEDED_FILES = (_RESOLV_CONF, Path("/etc/hosts"))
_SOME_SERVER = "nameserver 127.0.0.1\n"
_FRAMES: Mapping[Driver, tuple[str, str]] = {
    # SOCK_SEQPACKET: one packet is one frame
    "uml": ("-listen-bess", "unixpacket"),
    # SOCK_STREAM: each frame after its length
    "qemu": ("-listen-qemu", "unix"),
    # SOCK_DGRAM: one datagram is one frame
    "vz": ("-listen-vfkit", "unixgram"),
}


def gvproxy_command(
    tool: Command, *, driver: Driver, net_socket: Path, api_socket: Path, mtu: int, ssh_port: int
) -> Command:
    """The whole command line. Pure.

    Args:
        tool: the program.
        driver: whose frames it takes.
        net_socket: where it takes them.
        api_socket: where it is controlled.
        mtu: bytes of the largest packet, the same as the guest's.
        ssh_port: a free port of the host's loopback: gvproxy forwards it to the guest's port 22, and nothing can
            keep it from that (0.8.1). The start of :class:`Gvproxy` withdraws it.
    """
    flag, scheme = _FRAMES[driver]
    # it makes garbage with every frame, of little that lasts: collected less often, it takes a quarter less of the
    # processor, for some 20 MB at most
    return Command(tool.argv, {**tool.env, "GOGC": "400"}).with_args(
        "-mtu", str(mtu),
        "-ssh-port", str(ssh_port),
        "-listen", f"unix://{quote(str(api_socket))}",
        flag, f"{scheme}://{quote(str(net_socket))}",
    )  # fmt: skip


class Gvproxy:
    """One gvproxy. It ends when its VMM disconnects, and with its parent.

    Args:
        tool: the program.
        driver: whose frames it takes.
        net_socket: where it takes them.
        api_socket: where it is controlled; both lie in a private folder.
        log: what it prints.
        mtu: bytes of the largest packet, the same as the guest's.
        confinement: the files and ports that it may use; it may connect to any address.
    """

    def __init__(
        self,
        tool: Command,
        *,
        driver: Driver,
        net_socket: Path,
        api_socket: Path,
        log: Path,
        mtu: int = 9000,
        confinement: Confinement | None = None,
    ) -> None:
        self._confinement = confinement
        self._command = partial(
            gvproxy_command, tool, driver=driver, net_socket=net_socket, api_socket=api_socket, mtu=mtu
        )
        self._net_socket = net_socket
        self._api_socket = api_socket
        self._log = log
        self._child: Child | None = None
        self.api = GvproxyApi(api_socket)
        """Its control API: what is forwarded from the host to the guest."""

    async def start(self) -> None:
        """Start it and wait until it takes frames and requests. It forwards nothing then.

        Sockets and the log of an earlier run are replaced. When this fails nothing is left running.

        Raises:
            ToolError: it cannot be started on this host.
            NetworkError: it ended at once; the details hold what it said.
            DeadlineError: its sockets did not come.
        """
        _check_host_files()
        bounds = self._bounds()
        for _ in range(_PORT_TRIES):
            _remove(self._net_socket, self._api_socket, self._log)
            port = _free_port()
            self._child = await spawn(
                self._command(ssh_port=port),
                name=PROGRAM,
                log=self._log,
                # this port is withdrawn at once; only those that were given can be opened, whoever reaches its API
                confinement=bounds and replace(bounds, bind_tcp=(*bounds.bind_tcp, port)),
            )
            try:
                await self._settle(self._child)
                await self._withdraw_ssh(port)
            except ConflictError:
                continue  # someone took the port between our look and gvproxy's start
            except BaseException:
                await self.stop()
                raise
            return
        raise NetworkError(
            f"gvproxy found no free port on the loopback in {_PORT_TRIES} tries", log=self._log
        )

    @property
    def identity(self) -> Identity | None:
        """Its process, once it was started."""
        return self._child.identity if self._child else None

    async def expose_unix(self, path: Path, guest_port: int) -> None:
        """Let a unix socket on the host lead to a port of the guest; see :meth:`GvproxyApi.expose_unix`."""
        await self.api.expose_unix(path, guest_port)

    def seal(self) -> None:
        """From now on it listens on nothing more, whoever asks it to, as far as its confinement can hold it to that."""
        if self._child is not None:
            self._child.seal()

    async def wait(self) -> str:
        """Wait for its end; returns what it said last. Its exit code says nothing: it is 0 after errors too."""
        if self._child is None:
            return "it was not started"
        await self._child.wait()
        said = _last_words(self._log).splitlines()
        return said[-1] if said else "it said nothing"

    async def stop(self, deadline: float = 2.0) -> None:
        """End it, with SIGKILL after ``deadline`` seconds; returns when it is gone. Not running is fine."""
        if self._child is not None:
            await self._child.stop(deadline)

    def _bounds(self) -> Confinement | None:
        """The confinement; on a host without a network it shows gvproxy a name server, which it never asks.

        Without one in resolv.conf gvproxy 0.8.1 ends; questions for names do not come to it.
        """
        if self._confinement is None or _names_a_server(_RESOLV_CONF):
            return self._confinement
        other = self._net_socket.with_name("resolv.conf")
        write_atomic(other, _SOME_SERVER)
        return replace(self._confinement, stand_ins={_RESOLV_CONF: other})

    async def _settle(self, child: Child) -> None:
        try:
            async with asyncio.timeout(START_DEADLINE):
                # it tells nobody that it listens: look, or notice its end
                while not (_listens(self._api_socket) and _exists(self._net_socket)):
                    if await child.wait_within(_LOOK_AGAIN):
                        raise self._failed()
        except TimeoutError as error:
            raise DeadlineError(
                f"gvproxy's sockets did not come within {START_DEADLINE:.0f} s",
                details=_last_words(self._log),
                log=self._log,
            ) from error
        _make_private(self._net_socket, self._api_socket)

    async def _withdraw_ssh(self, port: int) -> None:
        with suppress(NotFoundError):  # a later version may no longer open it
            await self.api.unexpose(Forward(local=f"127.0.0.1:{port}", remote=f"{GUEST}:22"))

    def _failed(self) -> NetworkError | ConflictError:
        said = _last_words(self._log)
        if "address already in use" in said:
            return ConflictError("a port that gvproxy was given is taken", details=said, log=self._log)
        if "no DNS servers configured" in said:
            return NetworkError(
                f"{_RESOLV_CONF} names no name server, and without one gvproxy does not start",
                hint=f"Name any: echo nameserver 127.0.0.1 | sudo tee -a {_RESOLV_CONF}",
                log=self._log,
            )
        return NetworkError("gvproxy ended at once", details=said, log=self._log)


def _check_host_files() -> None:
    """Without one of these files gvproxy 0.8.1 ends without a clear word."""
    for path in _NEEDED_FILES:
        if not os.access(path, os.R_OK):
            raise ToolError(
                f"gvproxy needs {path}, which this host does not have",
                hint=f"Create it: sudo touch {path}",
            )


def _names_a_server(path: Path) -> bool:
    lines = path.read_text(errors="replace").splitlines()
    return any(words[:1] == ["nameserver"] and len(words) > 1 for words in map(str.split, lines))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(path: Path) -> bool:
    """Whether someone accepts connections there; a connection to a unix socket never blocks for long."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _exists(path: Path) -> bool:
    return path.exists()


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _make_private(*paths: Path) -> None:
    for path in paths:
        path.chmod(0o600)


def _last_words(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-_LOG_TAIL:].strip()
    except OSError:
        return ""
