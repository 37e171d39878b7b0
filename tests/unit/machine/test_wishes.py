# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

import pytest

from cove.errors import MachineError
from cove.machine.wishes import Wishes


async def forever() -> None:
    await asyncio.Event().wait()


async def test_work_that_ends_is_not_disturbed() -> None:
    await Wishes().or_leave(asyncio.sleep(0))


async def test_work_is_left_for_a_stop_and_never_done_again() -> None:
    wishes = Wishes()
    working = asyncio.create_task(wishes.or_leave(forever()))
    await asyncio.sleep(0)
    wishes.ask_to_stop(7.0)
    await asyncio.wait_for(working, 10)
    assert (wishes.stop, wishes.deadline) == (True, 7.0)
    wishes.take_suspensions().answer()
    await asyncio.wait_for(wishes.or_leave(forever()), 10)


async def test_failures_and_cancellations_pass_through() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Wishes().or_leave(broken())
    working = asyncio.create_task(Wishes().or_leave(forever()))
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_suspensions_are_met_together_and_answered_each() -> None:
    wishes = Wishes()
    asking = [asyncio.create_task(wishes.ask_to_suspend(asleep=asleep)) for asleep in (True, False)]
    await asyncio.wait_for(wishes.or_leave(forever()), 10)
    assert wishes.suspend
    taken = wishes.take_suspensions()
    assert taken
    assert not taken.asleep  # somebody wants it gone
    assert not wishes.suspend
    taken.answer(MachineError("no room"))
    for one in asking:
        with pytest.raises(MachineError, match="no room"):
            await one
    assert not wishes.take_suspensions()
    left = asyncio.create_task(wishes.or_leave(forever()))
    await asyncio.sleep(0.01)
    assert not left.done()  # nothing is asked for any more
    left.cancel()


async def test_asker_that_went_away_is_no_trouble() -> None:
    wishes = Wishes()
    asking = asyncio.create_task(wishes.ask_to_suspend(asleep=True))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.sleep(0)
    taken = wishes.take_suspensions()
    assert taken.asleep
    taken.answer()
