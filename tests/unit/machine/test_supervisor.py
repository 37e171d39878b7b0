# SPDX-License-Identifier: Apache-2.0
"""The whole life of a machine under its supervisor, with the fake driver and a network of futures."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import pytest

from cove.errors import MachineError, ToolError
from cove.machine import supervisor as module
from cove.machine.course import timings
from cove.machine.stages import GUEST_STAGES
from cove.machine.state import State
from cove.machine.store import Store, read_state
from cove.system.files import read_json
from cove.system.process import Identity
from cove.vmm.fake import STAGES
from tests.unit.machine.world import SPEC, Run, WatchedFake, Wire, names, running, stages_until

WHOLE_START = [
    word
    for stage in ("link", *(stage.name for stage in GUEST_STAGES))
    for word in (f"stage-begun {stage}", f"stage-ended {stage}")
]


def sockets_left(run: Run) -> list[str]:
    return [path.name for path in run.supervisor.paths.sockets if path.exists()]


async def until_running(run: Run) -> None:
    assert names(await run.events())[-1] == "running"


def test_the_fake_prints_what_a_guest_does() -> None:
    assert tuple(stage.name for stage in GUEST_STAGES) == STAGES


async def test_start_reaches_all_stages_in_order(store: Store) -> None:
    me = Identity.of(os.getpid())
    async with running(store, wire=Wire(identity=me)) as run:
        events = await run.events()
        assert names(events) == [*WHOLE_START, "running"]
        assert all(event["ok"] for event in events if event["event"] == "stage-ended")
        assert all(event["label"] for event in events if event["event"] == "stage-begun")
        assert run.wire.calls == ["start", "relay.sock -> 60998", "agent.sock -> 60997", "seal"]
        recorded = read_state(run.supervisor.paths)
        assert recorded == run.supervisor.record
        assert (recorded.state, recorded.reason) == (State.RUNNING, "")
        assert run.vm.sealed
        assert recorded.processes == {"supervisor": me, "gvproxy": me, "vmm": me}
        assert [name for name, _ in recorded.stages] == ["link", *STAGES]
        told = timings(read_json(run.supervisor.paths.boot))
        assert told is not None
        assert told["complete"]
        assert sorted(one["name"] for one in told["stages"] if one["name"] != "firmware") == sorted([
            "supervisor", "link", *STAGES, "ready",
        ])  # fmt: skip
        assert store.load(SPEC.name).running
        assert sockets_left(run) == ["docker.sock"]
        console = run.supervisor.paths.console_log.read_text()
        assert "cove.hostname=dev" in console
    assert sockets_left(run) == []


async def test_a_vmm_is_not_sealed_before_its_guest_has_opened_its_devices(store: Store) -> None:
    async with running(store, driver=WatchedFake(stages=("kernel", "root", "disk"))) as run:
        await run.heard("stage-begun network")
        assert not run.vm.sealed


async def test_stop_presses_the_button_when_the_agent_does_not_answer(store: Store) -> None:
    async with running(store) as run:
        await until_running(run)
        run.supervisor.ask_to_stop(20)
        await run.end()
        assert run.supervisor.ended.is_set()
        assert (await run.vm.wait()).ending == "shutdown"
    recorded = read_state(run.supervisor.paths)
    assert (recorded.state, recorded.reason, recorded.processes) == (State.STOPPED, "asked for", {})
    assert [name for name, _ in recorded.stages] == ["link", *STAGES]  # how the last start went stays known


async def test_guest_that_does_not_stop_is_ended_at_the_deadline(store: Store) -> None:
    async with running(store, driver=WatchedFake(power_button=False)) as run:
        await until_running(run)
        run.supervisor.ask_to_stop(0.05)
        await run.end()
        assert (await run.vm.wait()).ending == "killed"
    assert run.supervisor.record.state is State.STOPPED
    assert "did not stop within 0 s and was ended" in run.supervisor.record.reason


async def test_guest_that_powers_itself_off_is_no_failure(store: Store) -> None:
    async with running(store) as run:
        await until_running(run)
        await run.vm.power_button()
        await run.end()
    assert run.supervisor.record.state is State.STOPPED
    assert run.supervisor.record.reason == "the guest powered itself off"


async def test_what_serves_a_guest_may_end_before_it(store: Store) -> None:
    """Share daemons and gvproxy end when the guest lets go of them, which a busy host may notice first."""
    async with running(store) as run:
        await until_running(run)
        run.driver.say("cove-stage stopped 9.00")
        run.wire.ended.set_result("it said nothing")
        await asyncio.sleep(0.2)
        await run.vm.power_button()
        await run.end()
    assert run.supervisor.record.state is State.STOPPED
    assert run.supervisor.record.reason == "the guest powered itself off"


async def test_guest_that_gives_up_says_why(store: Store) -> None:
    async with running(store, driver=WatchedFake(stages=stages_until("root"))) as run:
        await run.heard("stage-begun disk")
        run.driver.say("cove-failed the data disk has another file system")
        events = await run.events()
        await run.end()
    assert names(events)[-2:] == ["stage-ended disk", "failed"]
    assert events[-2]["ok"] is False
    error = events[-1]["error"]
    assert isinstance(error, dict)
    assert error["error"] == "MachineError"
    assert error["message"] == "dev did not start: the data disk has another file system"
    assert "cove-stage kernel" in error["details"]
    assert error["log"] == str(run.supervisor.paths.console_log)
    recorded = read_state(run.supervisor.paths)
    assert (recorded.state, recorded.reason) == (State.FAILED, error["message"])
    assert (recorded.processes, sockets_left(run)) == ({}, [])
    assert run.wire.calls[-1] == "stop"


async def test_vmm_that_dies_during_the_start(store: Store) -> None:
    async with running(store, driver=WatchedFake(stages=stages_until("disk"), exit_code=3)) as run:
        events = await run.events()
        await run.end()
    assert names(events)[-2:] == ["stage-ended network", "failed"]
    assert run.supervisor.record.state is State.FAILED
    assert run.supervisor.record.reason.startswith("dev did not start: the fake failed with exit code 3")


async def test_vmm_that_is_killed_while_it_runs(store: Store) -> None:
    async with running(store) as run:
        await until_running(run)
        await run.vm.kill()
        await run.end()
    recorded = read_state(run.supervisor.paths)
    assert recorded.state is State.FAILED
    assert recorded.reason.startswith("dev died: the fake was ended by SIGKILL")
    assert recorded.processes == {}
    assert sockets_left(run) == []


@pytest.mark.parametrize("stages", [stages_until("kernel"), STAGES], ids=["starting", "running"])
async def test_network_that_dies_takes_the_machine_with_it(store: Store, stages: tuple[str, ...]) -> None:
    async with running(store, driver=WatchedFake(stages=stages)) as run:
        await run.heard("stage-begun root")
        if stages == STAGES:
            await until_running(run)
        run.wire.ended.set_result("cannot bind")
        await run.end()
        assert (await run.vm.wait()).code == -signal.SIGKILL
    assert run.supervisor.record.state is State.FAILED
    assert run.supervisor.record.reason.endswith("gvproxy ended: cannot bind")


async def test_network_that_does_not_start_ends_before_the_driver(store: Store) -> None:
    wire = Wire(failure=ToolError("gvproxy cannot be started"))
    async with running(store, wire=wire) as run:
        events = await run.events()
        await run.end()
    assert names(events) == ["stage-begun link", "stage-ended link", "failed"]
    assert run.supervisor.record.reason == "gvproxy cannot be started"
    assert run.driver.vm is None


async def test_stage_that_never_comes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tuple(replace(stage, deadline=0.1) for stage in GUEST_STAGES)
    monkeypatch.setattr(module, "GUEST_STAGES", short)
    async with running(store, driver=WatchedFake(stages=stages_until("network"))) as run:
        events = await run.events()
        await run.end()
    error = events[-1]["error"]
    assert isinstance(error, dict)
    assert error["message"] == "dev did not start: nothing within 0 s of 'starting the guest agent'"
    assert "the end of its console:" in error["details"]
    assert "cove-stage network" in error["details"]
    assert "cove logs dev" in error["hint"]


async def test_stop_while_it_starts(store: Store) -> None:
    async with running(store, driver=WatchedFake(stages=stages_until("network"))) as run:
        await run.heard("stage-begun agent")
        run.supervisor.ask_to_stop(20)
        events = await run.events()
        await run.end()
        assert (await run.vm.wait()).ending == "shutdown"
    error = events[-1]["error"]
    assert isinstance(error, dict)
    assert error["message"] == "dev was stopped while it started"
    recorded = read_state(run.supervisor.paths)
    assert (recorded.state, recorded.reason, recorded.stages) == (State.STOPPED, "asked for", ())


async def test_stop_before_anything_runs(store: Store) -> None:
    async with running(store) as run:
        run.supervisor.ask_to_stop(20)
        await run.end()
    assert run.supervisor.record.state is State.STOPPED


async def test_a_defect_is_told_as_one(store: Store) -> None:
    async with running(store, wire=Wire(failure=KeyError("oops"))) as run:
        events = await run.events()
        await run.end()
    error = events[-1]["error"]
    assert isinstance(error, dict)
    assert error["message"] == "a defect in Cove ended the machine: KeyError: 'oops'"
    assert "report it" in error["hint"]
    assert run.supervisor.record.state is State.FAILED


async def test_a_machine_starts_again_after_each_end(store: Store) -> None:
    async with running(store, wire=Wire(failure=MachineError("no"))) as run:
        await run.end()
    async with running(store) as run:
        await until_running(run)
        run.supervisor.ask_to_stop(20)
        await run.end()
    async with running(store) as run:
        await until_running(run)


class Company:
    """Goes on until cancelled, or fails at once."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.left = asyncio.Event()

    async def run(self) -> None:
        try:
            if self.failure is not None:
                raise self.failure
            await asyncio.Event().wait()
        finally:
            self.left.set()


async def test_company_comes_when_it_runs_and_leaves_before_it_ends(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = Company(), Company(ValueError("broken"))
    async with running(store) as run:
        run.supervisor._companions = (good, bad)
        await until_running(run)
        await asyncio.wait_for(bad.left.wait(), 10)
        assert not good.left.is_set()
        assert run.supervisor.record.state is State.RUNNING
        run.supervisor.ask_to_stop(20)
        await run.end()
        assert good.left.is_set()
    assert "Company ended; the machine goes on without it" in caplog.text


async def test_front_may_be_another(store: Store) -> None:
    class Front:
        calls: list[str] = []  # noqa: RUF012

        async def start(self) -> None:
            self.calls.append("start")

        async def stop(self) -> None:
            self.calls.append("stop")

    front = Front()
    async with running(store) as run:
        run.supervisor._front = front
        await until_running(run)
        assert front.calls == ["start"]
    assert front.calls[1] == "stop"
    assert sockets_left(run) == []


async def test_what_precedes_a_stop_is_done_while_the_guest_runs(store: Store) -> None:
    async with running(store) as run:
        seen: list[bool] = []

        def leave() -> None:
            seen.append(run.supervisor._crew.vm is not None)

        run.supervisor._before_stopping = leave
        await until_running(run)
        run.supervisor.ask_to_stop(20)
        await run.end()
    assert seen == [True]


async def test_ports_are_recorded_while_it_runs_and_prepared_before(store: Store) -> None:
    prepared: list[State] = []

    async def prepare() -> None:
        prepared.append(run.supervisor.record.state)
        run.supervisor.tell_ports([{"port": 8080}])

    async with running(store) as run:
        run.supervisor._before_running = prepare
        await until_running(run)
        assert prepared == [State.STARTING]
        assert run.supervisor.record.ports
        assert read_state(run.supervisor.paths).ports == ({"port": 8080},)
        run.supervisor.ask_to_stop(20)
        await run.end()
    assert read_state(run.supervisor.paths).ports == ()
