# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

from cove.errors import MachineError
from cove.machine.journal import Journal, JsonObject
from tests.unit.machine.world import names


async def read(journal: Journal) -> list[JsonObject]:
    async with asyncio.timeout(10):
        return [event async for event in journal.follow()]


async def test_listeners_hear_all_whenever_they_come() -> None:
    journal = Journal()
    early = asyncio.create_task(read(journal))
    await asyncio.sleep(0)
    journal.begin("link", "Wiring")
    journal.end()
    middle = asyncio.create_task(read(journal))
    await asyncio.sleep(0)
    journal.running()
    late = await read(journal)
    assert names(late) == ["stage-begun link", "stage-ended link", "running"]
    assert await early == await middle == late


async def test_failure_ends_the_stage_that_is_open() -> None:
    journal = Journal()
    journal.begin("link", "Wiring")
    journal.failed(MachineError("no"))
    begun, ended, failed = await read(journal)
    assert begun == {"event": "stage-begun", "name": "link", "label": "Wiring"}
    assert (ended["ok"], failed["error"]) == (False, MachineError("no").as_dict())
    assert [name for name, _ in journal.times] == ["link"]


async def test_failure_between_stages_ends_none() -> None:
    journal = Journal()
    journal.begin("link", "Wiring")
    journal.end()
    journal.end()
    journal.failed(MachineError("no"))
    assert names(await read(journal)) == ["stage-begun link", "stage-ended link", "failed"]


async def test_listener_that_leaves_disturbs_nobody() -> None:
    journal = Journal()
    leaver, stayer = (asyncio.create_task(read(journal)) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    journal.begin("link", "Wiring")
    journal.running()
    assert names(await stayer) == ["stage-begun link", "running"]
