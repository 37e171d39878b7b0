# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from cove.system.unixhttp import UnixConnection


def test_asks_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    asked: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=serve)
        server.start()
        connection = UnixConnection(path, timeout=10)
        connection.request("GET", "/x")
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (200, b"ok")
        connection.close()
        server.join(10)
    assert asked[0].startswith(b"GET /x HTTP/1.1\r\nHost: localhost\r\n")


def test_a_server_that_says_nothing_is_left_after_the_timeout(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        connection = UnixConnection(tmp_path / "s", timeout=0.1)
        connection.request("GET", "/")
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()


def test_nobody_listens(tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale"))
    stale.close()
    for name, error in (("stale", ConnectionRefusedError), ("absent", FileNotFoundError)):
        connection = UnixConnection(tmp_path / name, timeout=1)
        with pytest.raises(error):
            connection.request("GET", "/")
        assert connection.sock.fileno() == -1  # closed, not leaked
