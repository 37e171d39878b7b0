# SPDX-License-Identifier: Apache-2.0
"""Registries and a proxy on this host's loopback: Debian's docker-registry and openssl, out of the toolbox."""

from __future__ import annotations

import base64
import os
import select
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cove.system.process import Command
from cove.toolbox.model import Group, Program
from cove.toolbox.toolbox import ensure
from tests.integration.world import wait_until

GROUP = Group(
    name="registry-test",
    packages=("docker-registry", "openssl"),
    programs=(
        Program(
            name="docker-registry", path="usr/bin/docker-registry", package="docker-registry", minimum=(2, 8)
        ),
        Program(name="openssl", path="usr/bin/openssl", package="openssl", minimum=(3,)),
    ),
)

USER, PASSWORD = "someone", "pass word"
HTPASSWD = f"{USER}:$2b$04$zyhFRdSQtrGWiDCBLNdwhesHKfz6EU/QvmksdK2mRjtqFU9AwPpBq\n"

_CONFIG = """
version: 0.1
log: {{accesslog: {{disabled: false}}, level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
{auth}
"""


def programs(workshop: Any) -> Mapping[str, Command]:
    """The registry and openssl, fetched and unpacked if need be."""
    toolbox = ensure(GROUP, archive=lambda: workshop.archive("x86_64"), tools=workshop.home.tools)
    return {program.name: toolbox.command(program.name) for program in GROUP.programs}


class Authority:
    """A certificate authority of one's own.

    Args:
        openssl: the program.
        folder: where its files lie.
    """

    def __init__(self, openssl: Command, folder: Path) -> None:
        self._openssl = openssl
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", "/CN=Cove's test authority", "-keyout", str(folder / "ca.key"), "-out", str(self.certificate),
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def issue(self, *names: str) -> tuple[Path, Path]:
        """A server's certificate and its key."""
        certificate, key = self._folder / f"{names[0]}.pem", self._folder / f"{names[0]}.key"
        alternatives = ",".join(f"DNS:{name}" for name in names)
        self._run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN={names[0]}", "-keyout", str(key), "-out", str(certificate),
            "-CA", str(self.certificate), "-CAkey", str(self._folder / "ca.key"),
            "-addext", f"subjectAltName={alternatives}", "-addext", "basicConstraints=critical,CA:FALSE",
        )  # fmt: skip
        return certificate, key

    def _run(self, *args: str) -> None:
        config = self._folder / "openssl.cnf"
        config.write_text("[req]\ndistinguished_name=dn\n[dn]\n")
        command = self._openssl.with_args(args[0], "-config", str(config), *args[1:])
        subprocess.run(
            command.argv, env={**os.environ, **command.env}, check=True, capture_output=True, timeout=60
        )


class Registry:
    """A registry that listens on the loopback."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log

    @property
    def name(self) -> str:
        """How the engine and containers call it."""
        return f"host.docker.internal:{self.port}"

    @property
    def said(self) -> str:
        """Its log, with every request."""
        return self._log.read_text()


@contextmanager
def registry(
    program: Command, folder: Path, *, tls: tuple[Path, Path] | None = None, users: bool = False
) -> Iterator[Registry]:
    """A registry with a store of its own.

    Args:
        program: docker-registry.
        folder: its own.
        tls: certificate and key; else it speaks plain http.
        users: only :data:`USER` gets in.
    """
    folder.mkdir()
    (folder / "htpasswd").write_text(HTPASSWD)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(
        _CONFIG.format(
            folder=folder / "store",
            port=port,
            tls=f', tls: {{certificate: "{tls[0]}", key: "{tls[1]}"}}' if tls else "",
            auth=f"auth: {{htpasswd: {{realm: cove, path: {folder / 'htpasswd'}}}}}" if users else "",
        )
    )
    log = folder / "log"
    command = program.with_args("serve", str(folder / "config.yml"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command.argv, env={**environment, **command.env}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        ) as child,
    ):
        try:
            wait_until(lambda: child.poll() is not None or _listens(port), "the registry to listen")
            assert child.poll() is None, log.read_text()
            yield Registry(port, log)
        finally:
            child.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy that wants a password, and leads names that no name server knows to servers of this host.

    Args:
        goals: ports of the loopback by ``HOST:PORT``.
    """

    daemon_threads = True

    def __init__(self, goals: Mapping[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Hop)
        self.goals = goals
        self.asked: list[str] = []
        self.refused = 0

    @property
    def url(self) -> str:
        """With the password in it."""
        return f"http://{USER}:pass%20word@127.0.0.1:{self.server_address[1]}"


class _Hop(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.request.recv(65536)
            if not data:
                return
            head += data
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        words = [
            line.split(b" ")[-1]
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"proxy-authorization:")
        ]
        if words != [base64.b64encode(f"{USER}:{PASSWORD}".encode())]:
            self.server.refused += 1
            self.request.sendall(
                b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return
        place = target if method == "CONNECT" else target.split("/")[2]
        place = place if ":" in place else f"{place}:80"
        self.server.asked.append(f"{method} {place}")
        with socket.create_connection(("127.0.0.1", self.server.goals[place])) as goal:
            if method == "CONNECT":
                self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:  # one request for each connection
                goal.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            self._join(goal)

    def _join(self, goal: socket.socket) -> None:
        ends = {self.request: goal, goal: self.request}
        while True:
            for ready in select.select(list(ends), [], [])[0]:
                try:
                    data = ready.recv(65536)
                except ConnectionResetError:
                    return
                if not data:
                    return
                ends[ready].sendall(data)


@contextmanager
def proxy(goals: Mapping[str, int]) -> Iterator[Proxy]:
    """A proxy that runs."""
    with Proxy(goals) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
