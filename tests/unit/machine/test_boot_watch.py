# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cove.errors import MachineError
from cove.machine.boot_watch import TAIL, BootWatch
from cove.machine.stages import Stage

DISK = Stage("disk", "Preparing the data disk", 20)
LOG = Path("/m/dev/console.log")


async def never() -> str:
    return str(await asyncio.Event().wait())


@pytest.fixture
def watch() -> BootWatch:
    return BootWatch("dev", LOG)


async def test_stage_that_was_said_before_anyone_waits(watch: BootWatch) -> None:
    for stage in ("kernel", "root", "disk"):
        watch.on_console(f"cove-stage {stage} 1.00")
    await watch.reach(DISK, never)
    assert not watch.guest_stopped


async def test_stage_that_is_said_while_we_wait(watch: BootWatch) -> None:
    waiting = asyncio.create_task(watch.reach(DISK, never))
    await asyncio.sleep(0)
    watch.on_console("[ 1.0] something else")
    watch.on_console("cove-stage disk 2.00")
    await asyncio.wait_for(waiting, 10)


async def test_only_the_last_lines_are_told(watch: BootWatch) -> None:
    for number in range(100):
        watch.on_console(f"line {number}")
    watch.on_console("cove-failed enough")
    with pytest.raises(MachineError) as caught:
        await watch.reach(DISK, never)
    assert caught.value.message == "dev did not start: enough"
    lines = (caught.value.details or "").splitlines()
    assert lines[0] == "the end of its console:"
    assert len(lines) == TAIL + 1
    assert lines[-1] == "cove-failed enough"
    assert caught.value.log == LOG


async def test_end_of_a_child_is_the_reason(watch: BootWatch) -> None:
    async def ended() -> str:
        return "gvproxy ended: no more"

    with pytest.raises(MachineError) as caught:
        await watch.reach(DISK, ended)
    assert caught.value.message == "dev did not start: gvproxy ended: no more"
    assert caught.value.details is None


async def test_stage_that_never_comes(watch: BootWatch) -> None:
    with pytest.raises(MachineError, match="nothing within 0 s of 'preparing the data disk'"):
        await watch.reach(Stage(DISK.name, DISK.label, 0.01), never)


def test_last_word_of_a_guest(watch: BootWatch) -> None:
    watch.on_console("cove-stage stopped 9.00")
    assert watch.guest_stopped
    assert watch.tail == "cove-stage stopped 9.00"
