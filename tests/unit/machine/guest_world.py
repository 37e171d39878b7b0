# SPDX-License-Identifier: Apache-2.0
"""A guest that is one asyncio server: the relay's protocol, and behind it as much of dockerd as ports need.

Connections to containers lead to servers of this host, so that what a client gets is real.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Bindings = dict[str, list[dict[str, str]]]


def asked(*texts: str) -> Bindings:
    """ "ADDRESS|PORT|INNER" as docker's CLI sends it."""
    found: Bindings = {}
    for text in texts:
        address, port, inner = text.split("|")
        found.setdefault(inner, []).append({"HostIp": address, "HostPort": port})
    return found


@dataclass
class FakeContainer:
    """One container; it answers at 127.0.0.1 with its port's number as the server's."""

    id: str
    name: str
    bindings: Bindings = field(default_factory=dict)
    running: bool = False
    starts: int = 0
    auto_remove: bool = False
    mode: str = "bridge"
    refuse: str = ""
    chosen: int = 0

    def info(self) -> dict[str, Any]:
        made: Bindings = {}
        for inner, bindings in self.bindings.items() if self.running else ():
            for each in bindings:
                port = each["HostPort"] or str(self.chosen)
                for address in (each["HostIp"],) if each["HostIp"] else ("0.0.0.0", "::"):
                    made.setdefault(inner, []).append({"HostIp": address, "HostPort": port})
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "State": {"Running": self.running, "StartedAt": str(self.starts)},
            "HostConfig": {
                "NetworkMode": self.mode,
                "AutoRemove": self.auto_remove,
                "PortBindings": self.bindings,
            },
            "NetworkSettings": {
                "Ports": made,
                "Networks": {"bridge": {"IPAddress": "127.0.0.1", "Gateway": "x"}},
            },
        }


class FakeGuest:
    """Behind the relay's socket."""

    def __init__(self) -> None:
        self.containers: dict[str, FakeContainer] = {}
        self.requests: list[str] = []
        self.dialled: list[str] = []
        self.listeners: asyncio.Queue[str] = asyncio.Queue()
        self.dead = False
        self._watchers: list[asyncio.Queue[bytes | None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, name: str, *texts: str, **options: Any) -> FakeContainer:
        container = FakeContainer(id=name[0] * 64, name=name, bindings=asked(*texts), **options)
        self.containers[container.id] = container
        return container

    def emit(self, action: str, container: FakeContainer, kind: str = "container") -> None:
        actor = (
            {"ID": container.id}
            if kind == "container"
            else {"ID": "net", "Attributes": {"container": container.id}}
        )
        line = json.dumps({"Type": kind, "Action": action, "Actor": actor}).encode() + b"\n"
        for watcher in self._watchers:
            watcher.put_nowait(line)

    def set_running(self, container: FakeContainer, running: bool) -> None:
        container.running = running
        container.starts += running
        self.emit("start" if running else "die", container)

    def break_events(self) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(None)

    @property
    def watched(self) -> bool:
        return bool(self._watchers)

    @asynccontextmanager
    async def at(self, path: Path) -> AsyncIterator[None]:
        path.parent.mkdir(parents=True, exist_ok=True)
        server = await asyncio.start_unix_server(self._accept, path)
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            where = (await chunk(reader)).decode()
            self.dialled.append(where)
            if where == "docker" and not self.dead:
                await self._docker(reader, writer)
            elif where == "listeners":
                while True:
                    send(writer, (await self.listeners.get()).encode())
            elif where.startswith("tcp "):
                _, address, port, _ = where.split(" ")
                far_reader, far_writer = await asyncio.open_connection(address, int(port))
                try:
                    await asyncio.gather(outward(reader, far_writer), inward(far_reader, writer))
                finally:
                    far_writer.close()
        writer.close()

    async def _docker(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = b""
        while True:
            while b"\r\n\r\n" not in held:
                data = await chunk(reader)
                if not data:
                    send(writer, b"")
                    return
                held += data
            head, _, held = held.partition(b"\r\n\r\n")
            method, path, version = head.split(b"\r\n")[0].decode().split(" ")
            self.requests.append(f"{method} {path}")
            if path.startswith("/events"):
                await self._events(reader, writer)
                return
            status, body = await self._answer(method, path)
            data = json.dumps(body).encode() if body is not None else b""
            answer = b"%s %d X\r\nContent-Length: %d\r\n\r\n%s" % (version.encode(), status, len(data), data)
            for piece in (answer[:10], answer[10:]):  # a head need not come at once
                send(writer, piece)
                await asyncio.sleep(0)
            if version == "HTTP/1.0":
                send(writer, b"")
                await reader.read()
                return

    async def _events(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        send(writer, b"HTTP/1.0 200 OK\r\n\r\n")
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._watchers.append(queue)
        gone = asyncio.create_task(reader.read())
        gone.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while line := await queue.get():
                send(writer, line)
        finally:
            gone.cancel()
            self._watchers.remove(queue)

    async def _answer(self, method: str, path: str) -> tuple[int, Any]:
        parts = unquote(path.partition("?")[0]).removeprefix("/v1.45").strip("/").split("/")
        if parts == ["containers", "json"]:
            return 200, [{"Id": each.id} for each in self.containers.values() if each.running]
        if parts[0] != "containers":
            return 200, "OK"
        found = [each for each in self.containers.values() if parts[1] in (each.id, each.name)]
        if not found:
            return 404, {"message": "No such container"}
        return self._change(method, found[0], parts[2] if len(parts) > 2 else "")

    def _change(self, method: str, container: FakeContainer, verb: str) -> tuple[int, Any]:
        if method == "DELETE":
            del self.containers[container.id]
            if container.running:
                self.set_running(container, False)
            self.emit("destroy", container)
            return 204, None
        if verb == "json":
            return 200, container.info()
        if verb == "start" and container.refuse:
            return 500, {"message": container.refuse}
        if verb == "start" and container.running:
            return 304, None
        if verb in ("stop", "kill", "restart") and container.running:
            self.set_running(container, False)
        if verb in ("start", "restart"):
            self.set_running(container, True)
        return 204, None


async def chunk(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))


def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(len(data).to_bytes(4) + data)


async def outward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await chunk(reader):
        writer.write(data)
    writer.write_eof()


async def inward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        send(writer, data)
    send(writer, b"")
