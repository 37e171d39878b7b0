# SPDX-License-Identifier: Apache-2.0
"""The relay of the real agent, with real servers on the unix socket behind it and chunks on the TCP side."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cove_guest import relay
from tests.unit.cove_guest.agents import WAIT, Agent, UnixServer, docker, echo, until

END = bytes(4)
"""The empty chunk, which ends a direction."""


@pytest.fixture
def server(agent: Agent) -> Iterator[UnixServer]:
    running = UnixServer(agent.engine, echo)
    until(lambda: "engine" in agent.stages(), "the agent's own ping to be answered")
    yield running
    running.close()


def everything(connection: socket.socket) -> bytes:
    """All plain bytes until the end."""
    held = bytearray()
    while data := connection.recv(1 << 16):
        held += data
    return bytes(held)


def chunk(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


DOCKER = chunk(b"docker")
"""What a connection begins with that leads to docker's socket."""


def exactly(connection: socket.socket, count: int) -> bytes:
    held = bytearray()
    while len(held) < count:
        data = connection.recv(count - len(held))
        assert data, f"the connection ended after {len(held)} of {count} bytes"
        held += data
    return bytes(held)


def unchunked(connection: socket.socket) -> bytes:
    """The contents of all chunks until the empty one, which must come."""
    held = bytearray()
    while length := int.from_bytes(exactly(connection, 4), "big"):
        assert length <= relay.CHUNK_LIMIT
        held += exactly(connection, length)
    return bytes(held)


def gone(connection: socket.socket) -> bool:
    """Whether the relay hung up, with a reset or without."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_end_of_one_direction_is_passed_on(agent: Agent, server: UnixServer) -> None:
    with agent.dial(agent.relay) as connection:
        connection.sendall(DOCKER + chunk(b"ques") + chunk(b"tion") + END)  # echo answers only after the end
        assert unchunked(connection) == b"question"
        assert gone(connection)


def test_server_that_ends_first_can_still_be_written_to(agent: Agent) -> None:
    received: list[bytes] = []

    def hang_up_first(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        received.append(everything(connection))

    server = UnixServer(agent.engine, hang_up_first)
    try:
        with agent.dial(agent.relay) as connection:
            connection.sendall(DOCKER + chunk(b"?"))
            assert unchunked(connection) == b"bye"
            connection.sendall(chunk(b"still here") + END)
            assert gone(connection)
        until(lambda: b"still here" in received, "the late bytes")
    finally:
        server.close()


def test_sequential_and_concurrent_connections_leave_nothing(agent: Agent, server: UnixServer) -> None:
    def one(number: int) -> None:
        text = f"{number}".encode() * 100
        with agent.dial(agent.relay) as connection:
            connection.sendall(DOCKER + chunk(text) + END)
            assert unchunked(connection) == text

    one(0)
    until(agent.idle, "the first to end")
    before = agent.descriptors()
    for number in range(200):
        one(number)
    held = [agent.dial(agent.relay) for _ in range(50)]
    for number, connection in enumerate(held):
        connection.sendall(DOCKER + chunk(b"%d" % number))
    for number, connection in enumerate(held):
        connection.sendall(END)
        assert unchunked(connection) == b"%d" % number
        connection.close()
    # fewer when the watch for the engine ended meanwhile
    until(lambda: agent.descriptors() <= before and agent.idle(), "the agent to let go")


def test_client_that_vanishes_lets_go_of_the_server(agent: Agent) -> None:
    ended = threading.Event()

    def talk(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(bytes(65536))
        finally:
            ended.set()

    server = UnixServer(agent.engine, talk)
    try:
        connection = agent.dial(agent.relay)
        connection.sendall(DOCKER + chunk(b"?"))
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
        connection.close()
        assert ended.wait(WAIT)
    finally:
        server.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\0",
        chunk(b"cut off")[:-1],
        (relay.CHUNK_LIMIT + 1).to_bytes(4, "big") + b"x",
        b"GET / HTTP/1.1\r\n",
    ],
    ids=["half a length", "half a chunk", "too long", "no chunks at all"],
)
def test_what_is_not_chunks_ends_both_sides(agent: Agent, sent: bytes) -> None:
    ended = threading.Event()

    def listen(connection: socket.socket) -> None:
        everything(connection)
        ended.set()

    server = UnixServer(agent.engine, listen)
    try:
        with agent.dial(agent.relay) as connection:
            connection.sendall(DOCKER + sent)
            with suppress(OSError):  # the agent may have hung up already
                connection.shutdown(socket.SHUT_WR)
            assert ended.wait(WAIT)
        until(agent.idle, "both directions to end")
    finally:
        server.close()


def test_waits_for_the_socket(agent: Agent) -> None:
    with agent.dial(agent.relay) as connection:
        connection.sendall(DOCKER + chunk(b"GET /_ping HTTP/1.0\r\n\r\n"))
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        server = UnixServer(agent.engine, docker)
        try:
            connection.settimeout(WAIT)
            assert unchunked(connection).endswith(b"OK")
        finally:
            server.close()


def test_client_that_does_not_wait_for_the_socket(agent: Agent) -> None:
    before = agent.descriptors()
    with agent.dial(agent.relay) as connection:
        connection.sendall(DOCKER)
    until(lambda: agent.descriptors() == before and agent.idle(), "the wait to end")


def test_socket_left_by_a_dead_engine(agent: Agent) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(agent.engine))
    stale.close()
    with agent.dial(agent.relay) as connection:
        connection.sendall(DOCKER + chunk(b"GET /_ping HTTP/1.0\r\n\r\n"))
        agent.engine.unlink()
        server = UnixServer(agent.engine, docker)
        try:
            assert unchunked(connection).endswith(b"OK")
        finally:
            server.close()


def test_large_transfer_arrives_whole(agent: Agent, server: UnixServer) -> None:
    piece = os.urandom(1 << 20)
    begun = time.monotonic()
    with agent.dial(agent.relay) as connection:

        def send() -> None:
            connection.sendall(DOCKER)
            for _ in range(32):
                connection.sendall(chunk(piece))  # each as long as a chunk may be
            connection.sendall(END)

        sender = threading.Thread(target=send)
        sender.start()
        assert unchunked(connection) == piece * 32
        sender.join(WAIT)
    assert time.monotonic() - begun < WAIT


def test_all_is_written_where_the_other_side_takes_little() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        data = os.urandom(1 << 20)  # more than a socket holds
        writer = threading.Thread(target=relay.write, args=(ours.fileno(), data))
        writer.start()
        assert exactly(theirs, len(data)) == data
        writer.join(WAIT)


@pytest.mark.parametrize(
    "first",
    [
        END,
        chunk(b"x" * 257),
        chunk(b"nowhere"),
        chunk(b"tcp 127.0.0.1"),
        chunk(b"tcp a b c"),
        chunk(b"docker "),
    ],
    ids=["nothing", "too long", "unknown", "no port", "no numbers", "almost docker"],
)
def test_connection_that_leads_nowhere_is_closed(agent: Agent, first: bytes) -> None:
    with agent.dial(agent.relay) as connection:
        connection.sendall(first)
        assert gone(connection)
    until(agent.idle, "the thread to end")


def test_client_that_never_says_where_is_let_go(agent: Agent) -> None:
    before = agent.descriptors()
    agent.dial(agent.relay).close()
    until(lambda: agent.descriptors() == before and agent.idle(), "the thread to end")
