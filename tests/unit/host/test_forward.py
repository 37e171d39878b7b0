# SPDX-License-Identifier: Apache-2.0
"""Listeners with real clients on loopback; behind them a real server, dialled directly instead of through a guest."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from cove.host import forward
from cove.host.forward import Forward, bind
from cove.host.ports import HostPort, Protocol, Target
from cove.host.udp_forward import UdpForward

DEADLINE = 20


class Direct:
    """A stream straight to a server, TCP or UDP; its messages are those of the guest's relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self) -> bytes:
        return await self.reader.read(1 << 16)

    async def message(self) -> bytes:
        return await self.reader.readexactly(int.from_bytes(await self.reader.readexactly(4)))

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def end(self) -> None:
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()


async def dial(target: Target) -> Direct:
    return Direct(*await asyncio.open_connection(target.address, target.port))


def free(protocol: Protocol = "tcp", address: str = "127.0.0.1") -> HostPort:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.bind((address, 0))
        return HostPort(protocol=protocol, address=address, port=probe.getsockname()[1])


@contextmanager
def taken(port: HostPort) -> Iterator[Forward]:
    found = bind(port, dial)
    assert found is not None
    try:
        yield found
    finally:
        found.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back all that comes, once it has ended."""
    data = await reader.read()
    if data == b"break":
        writer.write(b"half")
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
        return
    writer.write(data)
    writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Target]:
    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield Target(protocol="tcp", address="127.0.0.1", port=running.sockets[0].getsockname()[1])
    running.close()


async def ask(port: HostPort, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(port.address, port.port)
    try:
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(DEADLINE):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_half_closed_connections_are_answered(server: Target, address: str) -> None:
    port = free(address=address)
    with taken(port) as found:
        found.open(server)
        data = os.urandom(3 << 20)
        assert await ask(port, data) == data
        assert await asyncio.gather(*(ask(port, b"%d" % n) for n in range(50))) == [
            b"%d" % n for n in range(50)
        ]


async def test_clients_that_come_before_it_is_open_wait(server: Target) -> None:
    port = free()
    with taken(port) as found:
        early = asyncio.create_task(ask(port, b"early"))
        await asyncio.sleep(0.05)
        assert not early.done()
        found.open(server)
        assert await early == b"early"


async def test_a_closed_port_is_free_at_once(server: Target) -> None:
    port = free()
    for _ in range(3):
        with taken(port) as found:
            found.open(server)
            reader, writer = await asyncio.open_connection(port.address, port.port)
            writer.write(b"held")
            await asyncio.sleep(0.01)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), DEADLINE)
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await ask(port, b"x")


async def test_half_an_answer_is_no_whole_one(server: Target) -> None:
    port = free()
    with taken(port) as found:
        found.open(server)
        with pytest.raises(ConnectionResetError):
            await ask(port, b"break")


async def test_nobody_there_is_a_reset() -> None:
    port, gone = free(), free()
    with taken(port) as found:
        found.open(Target(protocol="tcp", address="127.0.0.1", port=gone.port))
        with pytest.raises(ConnectionError):
            await ask(port, b"x")


async def test_the_next_clients_follow_a_new_target(server: Target) -> None:
    port = free()
    with taken(port) as found:
        found.open(Target(protocol="tcp", address="127.0.0.1", port=free().port))
        found.open(server)
        assert await ask(port, b"x") == b"x"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_taken_and_foreign_addresses(protocol: Protocol) -> None:
    port = free(protocol)
    with taken(port):
        for address in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(OSError) as error:
                bind(HostPort(protocol=protocol, address=address, port=port.port), dial)
            assert error.value.errno == errno.EADDRINUSE
    with pytest.raises(OSError) as error:
        bind(HostPort(protocol=protocol, address="192.0.2.7", port=port.port), dial)
    assert error.value.errno == errno.EADDRNOTAVAIL


async def test_both_families_have_their_own_port(server: Target) -> None:
    port = free()
    for address in ("0.0.0.0", "::"):
        found = bind(HostPort(protocol="tcp", address=address, port=port.port), dial)
        assert found is not None
        found.close()
    with taken(HostPort(protocol="tcp", address="::", port=port.port)), pytest.raises(ConnectionRefusedError):
        await ask(port, b"x")


async def test_no_ipv6_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_port: HostPort) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "no IPv6")

    monkeypatch.setattr(forward, "_listener", refuse)
    assert bind(HostPort(protocol="tcp", address="::", port=1), dial) is None
    with pytest.raises(OSError):
        bind(HostPort(protocol="tcp", address="::1", port=1), dial)


class Flow:
    """A flow into a guest that answers each datagram with itself, doubled."""

    opened = 0
    closed = 0

    def __init__(self) -> None:
        type(self).opened += 1
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        raise AssertionError

    async def end(self) -> None:
        raise AssertionError

    async def message(self) -> bytes:
        return await self.answers.get()

    async def write(self, data: bytes) -> None:
        assert data[:1] == b"\0"
        self.answers.put_nowait(b"\0" + data[1:] * 2)

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
async def flows() -> AsyncIterator[tuple[HostPort, UdpForward]]:
    Flow.opened = Flow.closed = 0

    async def dial_flow(_target: Target) -> Flow:
        return Flow()

    port = free("udp")
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((port.address, port.port))
    listener.setblocking(False)
    found = UdpForward(listener, dial_flow, idle=0.3)
    found.open(Target(protocol="udp", address="192.0.2.1", port=53))
    yield port, found
    found.close()


async def exchange(client: socket.socket, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE):
        await loop.sock_sendall(client, data)
        return await loop.sock_recv(client, 1 << 16)


def udp_client(port: HostPort) -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.connect((port.address, port.port))
    return client


async def test_datagrams_find_their_client(flows: tuple[HostPort, UdpForward]) -> None:
    port, _ = flows
    clients = [udp_client(port) for _ in range(5)]
    for data in (b"a", b"", b"x" * 30000):
        for client in clients:
            assert await exchange(client, data) == data * 2
    assert Flow.opened == 5
    for client in clients:
        client.close()


async def test_silent_flows_end_and_begin_anew(flows: tuple[HostPort, UdpForward]) -> None:
    port, _ = flows
    with udp_client(port) as client:
        for _ in range(5):
            assert await exchange(client, b"a") == b"aa"
            await asyncio.sleep(0.1)
        assert (Flow.opened, Flow.closed) == (1, 0)
        await asyncio.sleep(0.5)
        assert (Flow.opened, Flow.closed) == (1, 1)
        assert await exchange(client, b"b") == b"bb"


async def test_closing_ends_all_flows(flows: tuple[HostPort, UdpForward]) -> None:
    port, found = flows
    with udp_client(port) as client:
        await exchange(client, b"a")
        found.close()
        await asyncio.sleep(0.05)
        assert Flow.closed == 1
        await asyncio.get_running_loop().sock_sendall(client, b"a")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), DEADLINE)


async def test_a_new_target_ends_the_flows_to_the_old(flows: tuple[HostPort, UdpForward]) -> None:
    port, found = flows
    with udp_client(port) as client:
        await exchange(client, b"a")
        found.open(Target(protocol="udp", address="192.0.2.2", port=53))
        await asyncio.sleep(0.05)
        assert await exchange(client, b"b") == b"bb"
        assert Flow.opened == 2


@pytest.mark.parametrize("address", ["", "127.0.0.1"])
def test_drawn_number_is_free(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        first = min(taken, 65500)
        assert taken not in {forward.free_number("tcp", address, first, first + 32) for _ in range(200)}
        # nothing is left: whoever takes it is told
        assert forward.free_number("tcp", address, taken, taken) == taken
    assert forward.free_number("udp", address, 61000, 65535) in range(61000, 65536)
