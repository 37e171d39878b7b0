# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

import pytest

from cove.machine.gate import Gate


async def test_open_gate_holds_nobody_up() -> None:
    gate = Gate()
    assert not gate.closed
    await gate.passed()


async def test_who_comes_wakes_and_waits() -> None:
    gate = Gate()
    gate.close()
    waking = asyncio.create_task(gate.knocked())
    coming = [asyncio.create_task(gate.passed()) for _ in range(3)]
    await asyncio.wait_for(waking, 10)
    assert not any(task.done() for task in coming)
    gate.open()
    await asyncio.wait_for(asyncio.gather(*coming), 10)
    gate.close()
    with pytest.raises(TimeoutError):  # an earlier knock does not wake it again
        await asyncio.wait_for(gate.knocked(), 0.05)


async def test_guest_that_can_be_reached_is_not_yet_settled() -> None:
    gate = Gate()
    gate.close()
    waking = asyncio.create_task(gate.awake())
    await asyncio.wait_for(gate.knocked(), 10)
    gate.open()
    await asyncio.wait_for(gate.passed(), 10)
    assert not waking.done()
    gate.settle()
    await asyncio.wait_for(waking, 10)
    await gate.awake()


async def test_shut_gate_turns_everyone_away() -> None:
    gate = Gate()
    gate.close()
    coming = asyncio.create_task(gate.passed())
    await asyncio.sleep(0)
    gate.shut()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.wait_for(coming, 10)
    with pytest.raises(ConnectionRefusedError):
        await gate.passed()
