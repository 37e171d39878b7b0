# SPDX-License-Identifier: Apache-2.0
"""Questions for names through the real agent, with a host that answers what it likes."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from tests.unit.cove_guest.agents import WAIT, Agent, until
from tests.unit.cove_guest.test_relay import END, chunk, exactly, gone

SETTLED = bytes(12) + b"settled"
QUESTION = b"\1\2" + bytes(10) + b"what"


class Host:
    """The host's end: takes questions and answers them."""

    def __init__(self, agent: Agent) -> None:
        self.socket = agent.dial(agent.relay)
        self.socket.sendall(chunk(b"names"))

    def settle(self, agent: Agent) -> None:
        """Wait until questions come here, and not to a former connection that has not ended yet."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:

            def heard() -> bool:
                client.sendto(bytes(12), ("127.0.0.1", agent.names))
                return bool(select.select([self.socket], [], [], 0.02)[0])

            until(heard, "the agent to take questions")
            client.sendto(SETTLED, ("127.0.0.1", agent.names))
            while self.hear()[2] != SETTLED:
                pass

    def hear(self) -> tuple[bytes, int, bytes]:
        data = exactly(self.socket, int.from_bytes(exactly(self.socket, 4), "big"))
        return data[:4], data[4], data[5:]

    def answer(self, token: bytes, data: bytes) -> None:
        self.socket.sendall(chunk(token + data))


@pytest.fixture
def host(agent: Agent) -> Iterator[Host]:
    connected = Host(agent)
    connected.settle(agent)
    yield connected
    connected.socket.close()


def _listens(agent: Agent) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", agent.names)) == 0


def asker(agent: Agent, kind: socket.SocketKind) -> socket.socket:
    client = socket.socket(socket.AF_INET, kind)
    client.settimeout(WAIT)
    client.connect(("127.0.0.1", agent.names))
    return client


def test_datagrams(agent: Agent, host: Host) -> None:
    with asker(agent, socket.SOCK_DGRAM) as one, asker(agent, socket.SOCK_DGRAM) as other:
        one.send(QUESTION)
        first, way, question = host.hear()
        assert (way, question) == (0, QUESTION)
        other.send(QUESTION + b"2")
        second, _, _ = host.hear()
        host.answer(second, b"for the other")
        host.answer(first, b"for the one")
        assert one.recv(100) == b"for the one"
        assert other.recv(100) == b"for the other"
        one.send(b"too short")
        one.send(QUESTION)
        assert host.hear()[2] == QUESTION  # the short one was left out


def test_streams_in_pieces_and_pipelined(agent: Agent, host: Host) -> None:
    framed = len(QUESTION).to_bytes(2, "big") + QUESTION
    with asker(agent, socket.SOCK_STREAM) as client:
        client.sendall(framed[:1])
        client.sendall(framed[1:] + framed)
        tokens = []
        for _ in range(2):
            token, way, question = host.hear()
            assert (way, question) == (1, QUESTION)
            tokens.append(token)
        large = bytes(60000)
        host.answer(tokens[0], large)
        host.answer(tokens[1], b"short")
        assert exactly(client, 2 + len(large)) == (60000).to_bytes(2, "big") + large
        assert exactly(client, 7) == b"\0\5short"


def test_an_answer_twice_or_to_nobody_is_left_out(agent: Agent, host: Host) -> None:
    with asker(agent, socket.SOCK_STREAM) as client:
        client.sendall(len(QUESTION).to_bytes(2, "big") + QUESTION)
        token, _, _ = host.hear()
    host.answer(b"\xff\xff\xff\xff", b"nobody")
    host.answer(token, b"it is gone")
    host.answer(token, b"again")
    with asker(agent, socket.SOCK_DGRAM) as client:
        client.send(QUESTION)
        host.answer(host.hear()[0], b"yes")
        assert client.recv(100) == b"yes"


def test_too_many_connections_end_the_oldest(agent: Agent, host: Host) -> None:
    clients = [asker(agent, socket.SOCK_STREAM) for _ in range(65)]
    try:
        assert gone(clients[0])
        clients[-1].sendall(len(QUESTION).to_bytes(2, "big") + QUESTION)
        host.answer(host.hear()[0], b"yes")
        assert exactly(clients[-1], 5) == b"\0\3yes"
    finally:
        for client in clients:
            client.close()


def test_nobody_listens_without_the_host(agent: Agent, host: Host) -> None:
    host.socket.sendall(END)
    assert gone(host.socket)
    until(lambda: not _listens(agent), "the agent to stop listening")
    until(agent.idle, "its thread to end")


def test_a_new_connection_of_the_host_takes_over(agent: Agent, host: Host) -> None:
    """The former may be dead without anybody having been told, as after a resume."""
    successor = Host(agent)
    try:
        assert gone(host.socket)
        successor.settle(agent)
        with asker(agent, socket.SOCK_DGRAM) as client:
            client.send(QUESTION)
            successor.answer(successor.hear()[0], b"yes")
            assert client.recv(100) == b"yes"
    finally:
        successor.socket.close()


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1x", b"\0\0\0\4xxxx", b"\0\x20\0\0"])
def test_what_is_no_answer_ends_it(agent: Agent, host: Host, data: bytes) -> None:
    if data:
        host.socket.sendall(data)
    else:
        host.socket.shutdown(socket.SHUT_WR)
    assert gone(host.socket)
    until(agent.idle, "its thread to end")
