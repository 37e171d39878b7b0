# SPDX-License-Identifier: Apache-2.0
"""The keeper of ports and the engine's front, with real sockets on the host's side and a stand-in for the guest."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from cove.errors import EngineError
from cove.guest.relay import DOCKER, Relay, Tunnel
from cove.host.engine_calls import EngineCalls
from cove.machine.front import front
from cove.machine.ports import PortKeeper
from cove.system.paths import Home, MachinePaths
from cove.system.unixhttp import UnixConnection
from tests.unit.machine.guest_world import FakeContainer, FakeGuest

DEADLINE = 20.0


class World:
    """A guest, its front and its keeper, and a server that all containers' ports lead to."""

    def __init__(self, paths: MachinePaths, guest: FakeGuest, inner: int) -> None:
        self.paths = paths
        self.guest = guest
        self.inner = inner
        self.told: list[list[dict[str, Any]]] = []
        tunnel = Tunnel(paths.relay_socket)
        self.engine = EngineCalls(partial(tunnel.open, DOCKER))
        self.keeper = PortKeeper(tunnel, self.engine)
        self.keeper.report = self.told.append
        self.front: Relay = front(paths, self.keeper)
        self.running: asyncio.Task[None] | None = None

    @property
    def target(self) -> str:
        return f"{self.inner}/tcp"

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """One request of a client, from a thread."""
        connection = UnixConnection(self.paths.docker_socket, timeout=DEADLINE)
        try:
            connection.request(method, path, body)
            reply = connection.getresponse()
            data = reply.read()
            return reply.status, json.loads(data) if data else None
        finally:
            connection.close()

    async def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        return await asyncio.to_thread(self.ask, method, path, body)

    async def begin(self) -> None:
        self.running = asyncio.create_task(self.keeper.run())
        await until(lambda: self.guest.watched)


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not look():  # noqa: ASYNC110 - tests look where nothing tells
            await asyncio.sleep(0.01)


@pytest.fixture
async def world(home: Home) -> AsyncIterator[World]:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"served")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    paths, guest = home.machine("dev"), FakeGuest()
    async with guest.at(paths.relay_socket):
        found = World(paths, guest, server.sockets[0].getsockname()[1])
        await found.front.start()
        try:
            yield found
        finally:
            await found.front.stop()
            if found.running is not None:
                found.running.cancel()
                await asyncio.gather(found.running, return_exceptions=True)
            found.keeper.close()
            server.close()


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def served(port: int, address: str = "127.0.0.1") -> bool:
    try:
        with socket.create_connection((address, port), DEADLINE) as connection:
            return connection.recv(100) == b"served"
    except ConnectionRefusedError:
        return False


async def is_served(port: int, address: str = "127.0.0.1") -> bool:
    return await asyncio.to_thread(served, port, address)


async def test_ports_answer_before_the_client_hears(world: World) -> None:
    port = free()
    web = world.guest.add("web", f"|{port}|{world.target}")
    assert await world.call("POST", "/v1.45/containers/web/start") == (204, None)
    assert await is_served(port)
    assert await is_served(port, "::1")
    assert [(each["container"], each["address"], each["error"]) for each in world.told[-1]] == [
        ("web", "0.0.0.0", None),
        ("web", "::", None),
    ]
    assert await world.call("POST", "/containers/web/start", b"{}") == (304, None)
    assert await world.call("POST", "/containers/web/restart") == (204, None)
    assert await is_served(port)
    assert await world.call("POST", "/containers/web/stop?t=0") == (204, None)
    assert not await is_served(port)
    assert not web.running
    assert world.told[-1] == []


async def test_the_engines_own_choice(world: World) -> None:
    port = free()
    world.guest.add("web", f"127.0.0.1||{world.target}", chosen=port)
    await world.call("POST", "/containers/web/start")
    assert await is_served(port)
    await world.call("DELETE", "/containers/web?force=1")
    assert not await is_served(port)


@pytest.mark.parametrize("auto_remove", [False, True])
async def test_a_taken_port_keeps_the_container_from_starting(world: World, auto_remove: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, other = taken.getsockname()[1], free()
        web = world.guest.add(
            "web", f"127.0.0.1|{other}|{world.target}", f"|{port}|{world.target}", auto_remove=auto_remove
        )
        status, said = await world.call("POST", "/containers/web/start")
        assert status == 500
        assert said["message"] == (
            f"driver failed programming external connectivity on endpoint web ({web.id}): "
            f"Error starting userland proxy: listen tcp4 0.0.0.0:{port}: bind: address already in use"
        )
    assert not web.starts
    assert (web.id in world.guest.containers) != auto_remove
    assert not await is_served(other)
    if not auto_remove:
        assert (await world.call("POST", "/containers/web/start"))[0] == 204
        assert await is_served(port)


async def test_a_taken_choice_ends_the_container(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = world.guest.add("web", f"127.0.0.1||{world.target}", chosen=taken.getsockname()[1])
        status, said = await world.call("POST", "/containers/web/start")
        assert status == 500
        assert "address already in use" in said["message"]
        assert (web.starts, web.running) == (1, False)


async def test_a_refusal_of_the_engine_passes_and_frees(world: World) -> None:
    port = free()
    world.guest.add("web", f"|{port}|{world.target}", refuse="no such program")
    assert await world.call("POST", "/containers/web/start") == (500, {"message": "no such program"})
    assert not await is_served(port)


async def test_other_requests_pass_on_one_connection(world: World) -> None:
    port = free()
    world.guest.add("web", f"|{port}|{world.target}")

    def talk() -> list[int]:
        connection = UnixConnection(world.paths.docker_socket, timeout=DEADLINE)
        found = []
        for method, path in (
            ("GET", "/_ping"),
            ("POST", "/containers/web/start"),
            ("GET", "/containers/json"),
            ("DELETE", "/containers/x"),
        ):
            connection.request(method, path)
            reply = connection.getresponse()
            reply.read()
            found.append(reply.status)
        connection.close()
        return found

    assert await asyncio.to_thread(talk) == [200, 204, 200, 404]
    assert await is_served(port)


async def test_pipelined_starts_pass_and_the_events_serve_them(world: World) -> None:
    await world.begin()
    port = free()
    world.guest.add("web", f"|{port}|{world.target}")
    reader, writer = await asyncio.open_unix_connection(world.paths.docker_socket)
    writer.write(b"GET /_ping HTTP/1.1\r\n\r\nPOST /containers/web/start HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(DEADLINE):
        assert b"204" in await reader.readuntil(b"204")
    writer.close()
    await until(lambda: world.told and world.told[-1])
    assert await is_served(port)


async def test_a_client_that_does_not_wait(world: World) -> None:
    await world.begin()
    port = free()
    web = world.guest.add("web", f"|{port}|{world.target}")
    _, writer = await asyncio.open_unix_connection(world.paths.docker_socket)
    writer.write(b"POST /containers/web/start HTTP/1.1\r\n\r\n")
    await until(lambda: web.running)
    writer.close()
    await until(lambda: world.told and world.told[-1])
    assert await is_served(port)


async def test_events_alone(world: World) -> None:
    await world.begin()
    port = free()
    web = world.guest.add("web", f"|{port}|{world.target}")
    world.guest.set_running(web, True)
    await until(lambda: world.told and world.told[-1])
    assert await is_served(port)
    world.guest.emit("disconnect", web, "network")
    world.guest.set_running(web, False)
    await until(lambda: not world.told[-1])
    assert not await is_served(port)


async def test_an_engine_that_is_left_is_watched_no_more_and_the_ports_stay(world: World) -> None:
    await world.begin()
    port = free()
    web = world.guest.add("web", f"|{port}|{world.target}")
    world.guest.set_running(web, True)
    await until(lambda: world.told and world.told[-1])
    world.engine.leave()
    await until(lambda: not world.guest.watched)
    assert await is_served(port)
    with pytest.raises(EngineError, match="about to stop"):
        await anext(world.engine.events())


async def test_what_runs_already_and_what_happened_unseen(world: World) -> None:
    port = free()
    web = world.guest.add("web", f"|{port}|{world.target}", running=True)
    await world.keeper.prepare()
    assert await is_served(port)
    await world.begin()
    world.guest.break_events()
    web.running = False
    await until(lambda: not world.told[-1])
    assert not await is_served(port)


async def test_a_port_that_a_restart_policy_cannot_have_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        world.guest.add("web", f"127.0.0.1|{port}|{world.target}", running=True)
        await world.keeper.prepare()
    assert [(each["port"], each["error"]) for each in world.told[-1]] == [(port, "Address already in use")]
    assert "web cannot have" in caplog.text


async def test_a_port_passes_to_the_next_before_the_event_came(world: World) -> None:
    port = free()
    one = world.guest.add("one", f"|{port}|{world.target}")
    world.guest.add("two", f"|{port}|{world.target}")
    await world.call("POST", "/containers/one/start")
    one.running = False  # and nobody was told
    assert (await world.call("POST", "/containers/two/start"))[0] == 204
    assert {each["container"] for each in world.told[-1]} == {"two"}


async def test_two_that_run_cannot_share(world: World) -> None:
    port = free()
    for name in ("one", "two"):
        world.guest.add(name, f"|{port}|{world.target}")
    assert (await world.call("POST", "/containers/one/start"))[0] == 204
    assert (await world.call("POST", "/containers/two/start"))[0] == 500
    assert await is_served(port)


async def test_portless_containers_cost_one_look(world: World) -> None:
    await world.begin()
    plain = world.guest.add("plain")
    await world.call("POST", "/containers/plain/start")
    world.guest.set_running(plain, False)
    port = free()
    world.guest.add("web", f"|{port}|{world.target}")
    await world.call("POST", "/containers/web/start")  # the events before have been seen then
    looks = [each for each in world.guest.requests if each == f"GET /containers/{plain.id}/json"]
    assert looks == []


async def test_what_host_network_containers_listen_on(world: World) -> None:
    await world.begin()
    host: FakeContainer = world.guest.add("host", mode="host")
    await world.call("POST", "/containers/host/start")
    world.guest.listeners.put_nowait(f"{host.id} 127.0.0.1 {world.inner}\n{'9' * 64} :: 1\n")
    await until(lambda: world.told and world.told[-1])
    # the server itself stands in for the guest's, so its own port is taken here
    assert [(each["port"], each["error"]) for each in world.told[-1]] == [
        (world.inner, "Address already in use")
    ]
    world.guest.listeners.put_nowait("\n")
    await until(lambda: not world.told[-1])
    world.guest.set_running(host, False)
    await until(lambda: "listeners" in world.guest.dialled)


async def test_an_engine_that_is_gone_is_no_reason_to_refuse(world: World) -> None:
    world.guest.dead = True
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        await world.call("POST", "/containers/web/start")
    await world.keeper.prepare()


async def test_all_is_given_back_at_the_end(world: World) -> None:
    port = free()
    world.guest.add("web", f"|{port}|{world.target}", running=True)
    await world.begin()
    await until(lambda: world.told)
    assert world.running is not None
    world.running.cancel()
    await asyncio.gather(world.running, return_exceptions=True)
    assert not await is_served(port)
