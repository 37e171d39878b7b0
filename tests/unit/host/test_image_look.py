# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cove.host.image_look import has_images

OK = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], Path]]:
    """Starts something that answers a question for an image with the bytes of its name, or hangs up."""
    with ExitStack() as stack:

        def start(answers: dict[str, bytes]) -> Path:
            path = tmp_path / "docker.sock"
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.settimeout(10)
            listener.bind(str(path))
            listener.listen()

            def serve() -> None:
                for _ in answers:
                    client = listener.accept()[0]
                    with client, client.makefile("rb") as lines:
                        method, target, version = lines.readline().decode().split()
                        while lines.readline().strip():
                            pass
                        assert (method, urlsplit(target).path, version) == ("GET", "/images/json", "HTTP/1.0")
                        (wanted,) = json.loads(parse_qs(urlsplit(target).query)["filters"][0])["reference"]
                        client.sendall(answers[wanted])

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            return path

        yield start


def test_an_image_that_is_there(engine: Callable[[dict[str, bytes]], Path]) -> None:
    there = OK + b'[{"Id":"sha256:1"}]\n'
    assert has_images(engine({"a:latest": there, "b": there}), ["a:latest", "b"])


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"[]\n",
        b'HTTP/1.0 500 Internal Server Error\r\n\r\n{"message":"it broke"}',
        OK + b'[{"Id"',
        OK + b"\xff",
        b"200",
        b"",
    ],
    ids=["none", "refused", "cut", "no_text", "no_http", "silent"],
)
def test_what_is_not_sure_is_not_there(engine: Callable[[dict[str, bytes]], Path], answer: bytes) -> None:
    assert not has_images(engine({"a": answer}), ["a"])


def test_nobody_listens(tmp_path: Path) -> None:
    assert not has_images(tmp_path / "docker.sock", ["a"])
