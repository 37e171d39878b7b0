# SPDX-License-Identifier: Apache-2.0
"""The engine's client against a real HTTP server that answers as dockerd 26.1 does."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import EngineError
from cove.host.engine import Engine, _frames


@dataclass
class Answer:
    """What the server says to one request; ``promised`` is the length it announces."""

    body: bytes = b""
    status: int = 200
    promised: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    """What the client sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


class Dockerd(socketserver.ThreadingUnixStreamServer):
    """Replays answers; remembers what it was asked."""

    daemon_threads = False

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Dockerd

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_arguments: object) -> None:
        pass

    def handle_any(self) -> None:
        self.server.asked.append(Asked(self.command, self.path, dict(self.headers), self._body()))
        route = f"{self.command} {self.path.partition('?')[0]}"
        answer = self.server.answers.get(route, Answer(b'{"message":"page not found"}', 404))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header(
            "Content-Length", str(len(answer.body) if answer.promised is None else answer.promised)
        )
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = True

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            assert self.rfile.readline() == b"\r\n"
        assert self.rfile.readline() == b"\r\n"
        return data


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[Dockerd]:
    server = Dockerd(tmp_path / "docker.sock")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def engine(dockerd: Dockerd, tmp_path: Path) -> Engine:
    return Engine(tmp_path / "docker.sock", deadline=10)


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4) + payload


def test_get_reads_json_and_writes_its_query(dockerd: Dockerd, engine: Engine) -> None:
    dockerd.answers["GET /version"] = Answer(b'{"Version":"26.1.5+dfsg1","ApiVersion":"1.45"}\n')
    assert engine.get("/version", filter="a b&c=ü")["ApiVersion"] == "1.45"
    assert dockerd.asked[0].url == "/version?filter=a+b%26c%3D%C3%BC"
    dockerd.answers["GET /empty"] = Answer()
    assert engine.get("/empty") is None


def test_post_sends_json_and_reads_json_or_nothing(dockerd: Dockerd, engine: Engine) -> None:
    dockerd.answers["POST /containers/create"] = Answer(b'{"Id":"c0ffee","Warnings":[]}\n', 201)
    dockerd.answers["POST /containers/c0ffee/start"] = Answer(b"", 204)
    assert engine.post("/containers/create", {"Image": "x"}, name="n")["Id"] == "c0ffee"
    assert engine.post("/containers/c0ffee/start") is None
    created, started = dockerd.asked
    assert (created.url, json.loads(created.body)) == ("/containers/create?name=n", {"Image": "x"})
    assert created.headers["Content-Type"] == "application/json"
    assert started.body == b""


def test_delete(dockerd: Dockerd, engine: Engine) -> None:
    dockerd.answers["DELETE /containers/c0ffee"] = Answer(b"", 204)
    engine.delete("/containers/c0ffee", force="true")
    assert (dockerd.asked[0].method, dockerd.asked[0].url) == ("DELETE", "/containers/c0ffee?force=true")


@pytest.mark.parametrize(("images", "there"), [(b"[]\n", False), (b'[{"Id":"sha256:1"}]\n', True)])
def test_asks_for_an_image_by_name(dockerd: Dockerd, engine: Engine, images: bytes, there: bool) -> None:
    dockerd.answers["GET /images/json"] = Answer(images)
    assert engine.has_image("cove.internal/busybox") is there
    assert "reference" in dockerd.asked[0].url


def test_asks_for_an_image_of_an_architecture(dockerd: Dockerd, engine: Engine) -> None:
    dockerd.answers["GET /images/json"] = Answer(b'[{"Id":"sha256:1"}]\n')
    dockerd.answers["GET /images/sha256%3A1/json"] = Answer(b'{"Architecture":"arm64"}\n')
    assert engine.has_image("cove.internal/busybox", "arm64")
    assert not engine.has_image("cove.internal/busybox", "amd64")
    dockerd.answers["GET /images/json"] = Answer(b"[]")
    assert not engine.has_image("cove.internal/busybox", "arm64")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message":"No such container: x"}\n', "No such container: x"),
        (b"plain text", "plain text"),
        (b"[]", "[]"),
        (b'{"error":1}', '{"error":1}'),
        (b"", ""),
        (b"\xff", "\ufffd"),
    ],
)
def test_refusals_carry_the_engines_words(
    dockerd: Dockerd, engine: Engine, body: bytes, message: str
) -> None:
    dockerd.answers["GET /containers/x/json"] = Answer(body, 404)
    with pytest.raises(EngineError) as caught:
        engine.get("/containers/x/json")
    assert caught.value.message == f"the engine refused GET /containers/x/json: {message}"
    assert caught.value.details == "HTTP status 404"


def test_load_sends_the_archive_in_chunks(dockerd: Dockerd, engine: Engine) -> None:
    archive = hashlib.shake_128(b"archive").digest(300_000)
    dockerd.answers["POST /images/load"] = Answer(b'{"stream":"Loaded image: x:latest\\n"}\r\n')
    engine.load(io.BytesIO(archive))
    asked = dockerd.asked[0]
    assert asked.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in asked.headers
    assert (asked.url, asked.body) == ("/images/load?quiet=1", archive)


def test_load_finds_the_error_in_a_stream_that_began_well(dockerd: Dockerd, engine: Engine) -> None:
    dockerd.answers["POST /images/load"] = Answer(
        b'{"stream":"Loading"}\r\n\r\n'
        b'{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}\r\n'
    )
    with pytest.raises(EngineError, match="the engine did not load an image: no space left on device"):
        engine.load(io.BytesIO(b"x"))


def test_save_writes_the_archive(dockerd: Dockerd, engine: Engine) -> None:
    archive = hashlib.shake_128(b"archive").digest(3 << 20)
    dockerd.answers["GET /images/cove.internal/busybox%3Alatest/get"] = Answer(archive)
    into = io.BytesIO()
    engine.save("cove.internal/busybox:latest", into)
    assert into.getvalue() == archive


def test_save_of_what_is_not_there(dockerd: Dockerd, engine: Engine) -> None:
    into = io.BytesIO()
    with pytest.raises(EngineError, match="page not found"):
        engine.save("absent", into)
    assert into.getvalue() == b""


def test_an_archive_that_is_cut_off_is_no_archive(dockerd: Dockerd, engine: Engine) -> None:
    dockerd.answers["GET /images/x/get"] = Answer(b"half", promised=8)
    with pytest.raises(EngineError, match="does not answer"):
        engine.save("x", io.BytesIO())


def test_an_archive_in_chunks_that_is_cut_off_is_none(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            connection.close()

        server = threading.Thread(target=answer)
        server.start()
        with pytest.raises(EngineError, match="does not answer"):
            Engine(tmp_path / "s", deadline=10).save("x", io.BytesIO())
        server.join(10)


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"a": '])
def test_an_answer_that_is_cut_off_is_none(dockerd: Dockerd, engine: Engine, body: bytes) -> None:
    dockerd.answers["GET /version"] = Answer(body, promised=len(body) + 5)
    with pytest.raises(EngineError, match="does not answer"):
        engine.get("/version")


@pytest.mark.parametrize("ask", ["get", "post", "load"])
def test_an_answer_that_is_no_json(dockerd: Dockerd, engine: Engine, ask: str) -> None:
    for route in ("GET /x", "POST /x", "POST /images/load"):
        dockerd.answers[route] = Answer(b"<html>")
    with pytest.raises(EngineError, match="no JSON"):
        engine.load(io.BytesIO(b"x")) if ask == "load" else getattr(engine, ask)("/x")


def test_logs_are_stdout_and_stderr_in_order(dockerd: Dockerd, engine: Engine) -> None:
    dockerd.answers["GET /containers/x/logs"] = Answer(
        frame(1, b"out\n") + frame(2, b"err\n") + frame(1, b"") + frame(1, "ü\n".encode()),
        headers={"Content-Type": "application/vnd.docker.multiplexed-stream"},
    )
    assert engine.logs("x", tail=5) == "out\nerr\nü\n"
    assert "tail=5" in dockerd.asked[0].url


@given(st.lists(st.binary(max_size=40)), st.integers(0, 200))
def test_frames_that_are_cut_off_lose_only_their_end(payloads: list[bytes], kept: int) -> None:
    whole = b"".join(frame(1, payload) for payload in payloads)
    assert b"".join(_frames(whole)) == b"".join(payloads)
    assert b"".join(payloads).startswith(b"".join(_frames(whole[:kept])))


def test_nobody_listens(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "docker.sock")
    for ask in (lambda: engine.get("/version"), lambda: engine.save("x", io.BytesIO())):
        with pytest.raises(
            EngineError, match=r"the engine at .*docker\.sock does not answer: .*No such file"
        ):
            ask()


def test_an_engine_that_says_nothing_is_left_at_the_deadline(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(EngineError, match="timed out"):
            Engine(tmp_path / "s", deadline=0.1).get("/version")


def test_an_engine_that_hangs_up_in_an_upload(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.close()

        server = threading.Thread(target=hang_up)
        server.start()
        with pytest.raises(EngineError, match="does not answer"):
            Engine(tmp_path / "s", deadline=10).load(io.BytesIO(bytes(4 << 20)))
        server.join(10)
