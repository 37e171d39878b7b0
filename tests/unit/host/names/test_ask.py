# SPDX-License-Identifier: Apache-2.0
"""Real name servers on the loopback. 127.0.0.0/8 gives each its own address at one port."""

from __future__ import annotations

import pytest

from cove.host.names import ask as module
from cove.host.names.ask import ask
from cove.host.names.message import SERVER_FAILURE, code
from tests.unit.host.names.server import NameServer, name_server
from tests.unit.host.names.test_message import query

NAMES = {"here.example": "10.0.0.1", "mute.example": None}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_is_asked(stream: bool) -> None:
    async with name_server(NameServer(NAMES)) as server:
        answer = await ask(["127.0.0.1"], server.port, query("here.example"), stream=stream)
    assert answer is not None
    assert answer.endswith(bytes((10, 0, 0, 1)))


async def test_a_name_that_does_not_exist_is_an_answer() -> None:
    async with (
        name_server(NameServer(NAMES)) as first,
        name_server(NameServer(NAMES), "127.0.0.2", first.port) as second,
    ):
        answer = await ask(["127.0.0.1", "127.0.0.2"], first.port, query("no.example"), stream=False)
    assert answer is not None
    assert code(answer) == 3
    assert second.asked == []


@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_one_is_asked_when_one_is_not_there(stream: bool) -> None:
    async with name_server(NameServer(NAMES), "127.0.0.3") as server:
        servers = ["127.0.0.2", "127.0.0.3"]  # nobody listens at the first: refused
        answer = await ask(servers, server.port, query("here.example"), stream=stream, patience=60)
    assert answer is not None
    assert code(answer) == 0


async def test_the_next_one_is_asked_when_one_fails() -> None:
    async with (
        name_server(NameServer({}, code=SERVER_FAILURE)) as first,
        name_server(NameServer(NAMES), "127.0.0.2", first.port),
    ):
        servers = ["127.0.0.1", "127.0.0.2"]
        answer = await ask(servers, first.port, query("here.example"), stream=False, patience=60)
    assert answer is not None
    assert code(answer) == 0


async def test_the_next_one_is_asked_when_one_is_slow() -> None:
    async with (
        name_server(NameServer({"here.example": None})) as first,
        name_server(NameServer(NAMES), "127.0.0.2", first.port),
    ):
        servers = ["127.0.0.1", "127.0.0.2"]
        answer = await ask(servers, first.port, query("here.example"), stream=False, patience=0.05)
    assert answer is not None
    assert code(answer) == 0
    assert first.asked == ["here.example"]


async def test_a_failure_is_told_when_nobody_knows_better() -> None:
    async with name_server(NameServer({}, code=SERVER_FAILURE)) as server:
        answer = await ask(["127.0.0.1", "127.0.0.2"], server.port, query("here.example"), stream=False)
    assert answer is not None
    assert code(answer) == SERVER_FAILURE


async def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.2)
    async with name_server(NameServer(NAMES)) as server:
        assert await ask(["127.0.0.1"], server.port, query("mute.example"), stream=False) is None


async def test_large_answers_come_over_tcp() -> None:
    async with name_server(NameServer(NAMES, large=60000)) as server:
        answer = await ask(["127.0.0.1"], server.port, query("here.example"), stream=True)
    assert answer is not None
    assert len(answer) > 60000
