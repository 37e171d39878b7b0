# SPDX-License-Identifier: Apache-2.0
"""The relay of the real agent, with real servers on the unix socket behind it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from cove_guest import relay
from tests.unit.cove_guest.agents import WAIT, Agent, UnixServer, docker, echo, until


@pytest.fixture
def server(agent: Agent) -> Iterator[UnixServer]:
    running = UnixServer(agent.engine, echo)
    until(lambda: "engine" in agent.stages(), "the agent's own ping to be answered")
    yield running
    running.close()


def everything(connection: socket.socket) -> bytes:
    held = bytearray()
    while data := connection.recv(1 << 16):
        held += data
    return bytes(held)


def test_end_of_one_direction_is_passed_on(agent: Agent, server: UnixServer) -> None:
    with agent.dial(agent.relay) as connection:
        connection.sendall(b"question")
        connection.shutdown(socket.SHUT_WR)  # echo answers only after this
        assert everything(connection) == b"question"


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
            connection.sendall(b"?")
            assert everything(connection) == b"bye"
            connection.sendall(b"still here")
        until(lambda: b"still here" in received, "the late bytes")
    finally:
        server.close()


def test_sequential_and_concurrent_connections_leave_nothing(agent: Agent, server: UnixServer) -> None:
    def one(number: int) -> None:
        text = f"{number}".encode() * 100
        with agent.dial(agent.relay) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            assert everything(connection) == text

    one(0)
    until(agent.idle, "the first to end")
    before = agent.descriptors()
    for number in range(200):
        one(number)
    held = [agent.dial(agent.relay) for _ in range(50)]
    for number, connection in enumerate(held):
        connection.sendall(b"%d" % number)
    for number, connection in enumerate(held):
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == b"%d" % number
        connection.close()
    until(lambda: agent.descriptors() == before and agent.idle(), "the agent to let go")


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
        connection.sendall(b"?")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
        connection.close()
        assert ended.wait(WAIT)
    finally:
        server.close()


def test_waits_for_the_socket(agent: Agent) -> None:
    with agent.dial(agent.relay) as connection:
        connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        server = UnixServer(agent.engine, docker)
        connection.settimeout(WAIT)
        assert everything(connection).endswith(b"OK")
        server.close()


def test_client_that_does_not_wait_for_the_socket(agent: Agent) -> None:
    before = agent.descriptors()
    agent.dial(agent.relay).close()
    until(lambda: agent.descriptors() == before and agent.idle(), "the wait to end")


def test_socket_left_by_a_dead_engine(agent: Agent) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(agent.engine))
    stale.close()
    with agent.dial(agent.relay) as connection:
        connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        agent.engine.unlink()
        server = UnixServer(agent.engine, docker)
        assert everything(connection).endswith(b"OK")
        server.close()


def test_large_transfer_arrives_whole(agent: Agent, server: UnixServer) -> None:
    data = os.urandom(1 << 20) * 32
    begun = time.monotonic()
    with agent.dial(agent.relay) as connection:

        def send() -> None:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert everything(connection) == data
        sender.join(WAIT)
    assert time.monotonic() - begun < WAIT


def test_copy_without_splice() -> None:
    ours, source = socket.socketpair()
    sink, theirs = socket.socketpair()
    with ours, source, sink, theirs:
        data = os.urandom(50000)
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        relay._copy_buffered(source.fileno(), sink.fileno())
        sink.shutdown(socket.SHUT_WR)
        assert everything(theirs) == data
