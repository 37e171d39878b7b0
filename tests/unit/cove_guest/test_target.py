# SPDX-License-Identifier: Apache-2.0
"""Connections to servers of the guest, through the real agent, with real servers on loopback."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from tests.unit.cove_guest.agents import WAIT, Agent, echo, free_ports, until
from tests.unit.cove_guest.test_relay import END, chunk, exactly, gone, unchunked


def serve_once(listener: socket.socket) -> threading.Thread:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            echo(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_tcp_both_ways_and_half_closed(agent: Agent, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    data = os.urandom(1 << 20)
    with socket.create_server((address, 0), family=family) as listener, agent.dial(agent.relay) as connection:
        thread = serve_once(listener)
        connection.sendall(chunk(f"tcp {address} {listener.getsockname()[1]} 0".encode()))
        connection.sendall(chunk(data) + END)
        assert unchunked(connection) == data
        assert gone(connection)
        thread.join(WAIT)


def test_server_that_does_not_listen_yet_is_waited_for(agent: Agent) -> None:
    (port,) = free_ports(1)
    with agent.dial(agent.relay) as connection:
        connection.sendall(chunk(b"tcp 127.0.0.1 %d 10000" % port) + chunk(b"early") + END)
        time.sleep(0.1)  # it is refused meanwhile
        with socket.create_server(("127.0.0.1", port)) as listener:
            thread = serve_once(listener)
            assert unchunked(connection) == b"early"
            thread.join(WAIT)


def test_refusal_closes_the_connection(agent: Agent) -> None:
    (port,) = free_ports(1)
    with agent.dial(agent.relay) as connection:
        connection.sendall(chunk(b"tcp 127.0.0.1 %d 0" % port) + chunk(b"x"))
        assert gone(connection)


def test_client_that_goes_ends_the_wait(agent: Agent) -> None:
    (port,) = free_ports(1)
    with agent.dial(agent.relay) as connection:
        connection.sendall(chunk(b"tcp 127.0.0.1 %d 60000" % port))
    until(agent.idle, "the wait to end")


def test_datagrams_keep_their_bounds(agent: Agent) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, agent.dial(agent.relay) as connection:
        server.bind(("127.0.0.1", 0))
        server.settimeout(WAIT)
        connection.sendall(chunk(b"udp 127.0.0.1 %d" % server.getsockname()[1]))
        for data in (b"one", b"", b"\0", os.urandom(65507)):
            connection.sendall(chunk(b"\0" + data))
            received, sender = server.recvfrom(1 << 17)
            assert received == data
            server.sendto(received, sender)
            length = int.from_bytes(exactly(connection, 4), "big")
            assert exactly(connection, length) == b"\0" + data
        connection.sendall(END)
        assert gone(connection)
    until(agent.idle, "the flow to end")


def test_datagram_to_nobody_is_lost_and_no_more(agent: Agent) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, agent.dial(agent.relay) as connection:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        server.close()
        connection.sendall(chunk(b"udp 127.0.0.1 %d" % port) + chunk(b"\0lost") + chunk(b"\0lost"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as later:
            later.bind(("127.0.0.1", port))
            later.settimeout(0.1)
            received = b""
            for _ in range(50):  # the first may still meet the refusal of those before
                connection.sendall(chunk(b"\0here"))
                try:
                    received = later.recv(100)
                    break
                except TimeoutError:
                    continue
            assert received in (b"here", b"lost")


def test_too_long_a_datagram_ends_the_flow(agent: Agent) -> None:
    (port,) = free_ports(1)
    with agent.dial(agent.relay) as connection:
        connection.sendall(chunk(b"udp 127.0.0.1 %d" % port) + (65537).to_bytes(4, "big"))
        assert gone(connection)
