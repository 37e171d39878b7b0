# SPDX-License-Identifier: Apache-2.0
"""The supervisor's own requests, against a stand-in that answers one connection in pieces of any size."""

from __future__ import annotations

import pytest

from cove.errors import EngineError
from cove.host.engine_calls import EngineCalls


class Answer:
    """A stream that has an answer."""

    def __init__(self, *pieces: bytes, then: Exception | None = None) -> None:
        self.pieces = list(pieces)
        self.then = then
        self.asked = b""
        self.closed = False

    async def read(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.then is not None:
            raise self.then
        return b""

    async def message(self) -> bytes:
        raise AssertionError

    async def write(self, data: bytes) -> None:
        self.asked += data

    async def end(self) -> None:
        raise AssertionError

    def close(self) -> None:
        self.closed = True


def engine(answer: Answer) -> EngineCalls:
    async def dial() -> Answer:
        return answer

    return EngineCalls(dial, deadline=5)


async def test_inspect() -> None:
    answer = Answer(b"HTTP/1.0 200 OK\r\nA: b\r", b'\n\r\n{"Id"', b': "x"}')
    assert await engine(answer).inspect("a/b") == {"Id": "x"}
    assert answer.asked.startswith(b"GET /containers/a%2Fb/json HTTP/1.0\r\n")
    assert answer.closed
    assert await engine(Answer(b"HTTP/1.0 404 X\r\n\r\n{}")).inspect("x") is None


async def test_mounts() -> None:
    body = b"""[{"Names": ["/web"], "Mounts": [{"Type": "bind", "Source": "/a"}, {"Type": "volume", "Source": "/v"}]},
        {"Names": ["/db"]}]"""
    assert await engine(Answer(b"HTTP/1.0 200 OK\r\n\r\n" + body)).mounts() == {"web": ["/a"], "db": []}


async def test_running() -> None:
    assert await engine(Answer(b'HTTP/1.0 200 OK\r\n\r\n[{"Id": "x"}]')).running() == ["x"]


async def test_changes() -> None:
    for name, line in (
        ("stop", b"POST /containers/x/stop?t=0 "),
        ("remove", b"DELETE /containers/x?v=1&force=1 "),
    ):
        answer = Answer(b"HTTP/1.0 204 No Content\r\n\r\n")
        await getattr(engine(answer), name)("x")
        assert answer.asked.startswith(line)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(b'HTTP/1.0 500 X\r\n\r\n{"message": "no disk"}'), "no disk"),
        (Answer(b"HTTP/1.0 500 X\r\n\r\n"), "status 500"),
        (Answer(b"HTTP/1.0 200 X\r\n\r\n{"), "not JSON"),
        (Answer(), "status 0"),
        (Answer(then=ConnectionResetError("gone")), "gone"),
        (Answer(then=EOFError()), "EOFError"),
    ],
)
async def test_refusals(answer: Answer, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        await engine(answer).running()
    assert answer.closed


async def test_events_come_line_by_line() -> None:
    answer = Answer(b"HTTP/1.0 200 OK\r\n", b'\r\n{"a"', b': 1}\n{"b": 2}\n{"c', b'": 3}\n')
    found = [event async for event in engine(answer).events(type=["container"])]
    assert found == [{}, {"a": 1}, {"b": 2}, {"c": 3}]
    assert b"GET /events?filters=%7B%22type%22%3A+%5B%22container%22%5D%7D HTTP/1.0" in answer.asked
    assert answer.closed


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"HTTP/1.0 500 X\r\n\r\n{}"),
        Answer(then=ConnectionResetError()),
        Answer(b"HTTP/1.0 200 OK\r\n\r\nx\n"),
    ],
)
async def test_events_that_do_not_come(answer: Answer) -> None:
    with pytest.raises(EngineError):
        async for _ in engine(answer).events():
            pass
