# SPDX-License-Identifier: Apache-2.0
"""The supervisor's API and its client, over a real unix socket."""

from __future__ import annotations

import asyncio
import json
from http.client import HTTPConnection
from typing import Any

import pytest

from cove.errors import MachineError, UsageError
from cove.machine.client import SupervisorClient
from cove.machine.store import Store
from cove.system.unixhttp import UnixConnection
from cove.vmm.fake import STAGES
from tests.unit.machine.world import SPEC, WatchedFake, names, running, serving, stages_until


async def test_status_events_and_stop(store: Store) -> None:
    async with running(store) as run, serving(run.supervisor) as path:
        client = SupervisorClient(path, SPEC.name)
        events = await asyncio.to_thread(lambda: list(client.events(deadline=20)))
        assert events == await run.events()
        status = await asyncio.to_thread(client.call, "GET", "/v1/status")
        assert status == json.loads(json.dumps(run.supervisor.record.to_dict()))
        assert (status["version"], status["state"]) == (1, "running")
        stopped = await asyncio.to_thread(client.call, "POST", "/v1/stop", {"deadline": 5}, deadline=20)
        assert stopped["state"] == "stopped"
        assert run.supervisor.ended.is_set()
        # asked a second time, and without a body, it is stopped still
        assert (await asyncio.to_thread(client.call, "POST", "/v1/stop"))["state"] == "stopped"


async def test_events_come_while_it_starts_to_any_number_of_listeners(store: Store) -> None:
    driver = WatchedFake(stages=stages_until("agent"))
    async with running(store, driver=driver) as run, serving(run.supervisor) as path:
        client = SupervisorClient(path, SPEC.name)

        async def listen() -> list[dict[str, Any]]:
            return await asyncio.to_thread(lambda: list(client.events(deadline=20)))

        listeners = [asyncio.create_task(listen()) for _ in range(3)]
        await run.heard("stage-begun engine")
        assert not any(listener.done() for listener in listeners)
        run.driver.say("cove-stage engine 1.00")
        heard = await asyncio.wait_for(asyncio.gather(*listeners), 20)
    assert names(heard[0])[-2:] == ["stage-ended engine", "running"]
    assert heard[0] == heard[1] == heard[2]


async def test_listener_that_leaves_disturbs_nobody(store: Store) -> None:
    async with running(store, driver=WatchedFake(stages=STAGES[:1])) as run, serving(run.supervisor) as path:

        def listen_and_leave() -> None:
            events = SupervisorClient(path, SPEC.name).events(deadline=20)
            assert next(events)["event"] == "stage-begun"
            events.close()  # type: ignore[attr-defined]

        await asyncio.to_thread(listen_and_leave)
        for stage in STAGES[1:]:
            run.driver.say(f"cove-stage {stage} 1.00")
        assert names(await run.events())[-1] == "running"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the request's body is not JSON"),
        (b"[]", "the request's body is not a JSON object"),
        (b'{"deadline": -1}', "deadline is -1, where seconds are expected"),
        (b'{"deadline": true}', "deadline is True, where seconds are expected"),
        (b'{"deadline": "1"}', "deadline is '1', where seconds are expected"),
        (b'{"deadline": null}', "deadline is None, where seconds are expected"),
        (b'{"deadline": NaN}', "deadline is nan, where seconds are expected"),
        (b'{"deadline": Infinity}', "deadline is inf, where seconds are expected"),
        (b"\xff\xfe", "the request's body is not JSON"),
    ],
)
async def test_wrong_requests_are_refused_and_stop_nothing(store: Store, body: bytes, message: str) -> None:
    def ask(connection: HTTPConnection) -> tuple[int, Any]:
        connection.request("POST", "/v1/stop", body)
        reply = connection.getresponse()
        answer = reply.status, json.loads(reply.read())
        connection.close()
        return answer

    async with running(store) as run, serving(run.supervisor) as path:
        await run.events()
        status, answer = await asyncio.to_thread(ask, UnixConnection(path, timeout=10))
        assert (status, answer["error"], answer["message"]) == (400, "UsageError", message)
        assert run.supervisor.record.state == "running"


async def test_refusals_are_raised_as_the_errors_they_were(store: Store) -> None:
    async with running(store) as run, serving(run.supervisor) as path:
        client = SupervisorClient(path, SPEC.name)
        with pytest.raises(UsageError, match="deadline is -1"):
            await asyncio.to_thread(client.call, "POST", "/v1/stop", {"deadline": -1})
        with pytest.raises(MachineError, match="the supervisor of dev does not answer"):
            await asyncio.to_thread(client.call, "GET", "/v1/nothing")
