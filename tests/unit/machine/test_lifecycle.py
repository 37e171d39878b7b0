# SPDX-License-Identifier: Apache-2.0
"""Start, stop and delete with the real supervisor as a process of its own; only its driver is the fake one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from cove.errors import (
    ConflictError,
    DeadlineError,
    MachineError,
    NotFoundError,
    StorageError,
    UnsupportedError,
)
from cove.events import Event, Note, StageBegun, StageEnded
from cove.image.guest_image import GuestImage, KernelPackage
from cove.machine import client, launching, lifecycle
from cove.machine.assets import Workshop
from cove.machine.config import Config
from cove.machine.lifecycle import delete, start, stop
from cove.machine.plan import LaunchPlan
from cove.machine.preparation import prepare
from cove.machine.state import State
from cove.machine.store import StateRecord, Store, read_state, write_state
from cove.machine.suspended import suspend
from cove.spec.machine import MachineSpec
from cove.system.files import read_json, try_lock
from cove.system.paths import Home
from cove.system.process import Identity
from cove.toolbox.groups import group_of
from cove.toolbox.toolbox import Toolbox
from cove.vmm.fake import STAGES
from tests.unit.machine import supervisor_process
from tests.unit.machine.world import SPEC, make_plan

ALL_STAGES = ["link", *STAGES]


@dataclass
class ReadyWorkshop:
    """A workshop in which everything is there already."""

    home: Home
    seen: list[Event] = field(default_factory=list)
    failure: Exception | None = None
    config: Config = field(default_factory=Config)

    def report(self, event: Event) -> None:
        self.seen.append(event)

    def toolbox(self, name: str) -> Toolbox:
        if self.failure is not None:
            raise self.failure
        group = group_of(name)
        found = {program.name: Path("/bin", program.name) for program in group.programs}
        return Toolbox(group=group, root=None, architecture="amd64", forms={}, found=found)

    def guest(self, spec: MachineSpec) -> GuestImage:
        folder = self.home.images / "abc"
        return GuestImage(
            id="abc", folder=folder, kernel=None if spec.driver == "uml" else folder / "kernel",
            initrd=folder / "initrd.img", root=folder / "root.erofs", cmdline="quiet", kernel_release="6",
            kernel_path="x", kernel_sha256="0", kernel_package=KernelPackage(name="k", version="1", sha256="0"),
            lock=folder / "lock.json",
        )  # fmt: skip


@pytest.fixture
def ready(home: Home) -> ReadyWorkshop:
    return ReadyWorkshop(home)


@pytest.fixture
def workshop(ready: ReadyWorkshop) -> Workshop:
    return cast(Workshop, ready)


@pytest.fixture(autouse=True)
def supervisors(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have supervisors run with the fake driver; those that a test leaves are ended."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {supervisor_process.__file__} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(launching.sys, "executable", str(script))
    monkeypatch.setenv("COVE_TEST_STAGES", " ".join(STAGES))
    yield
    for name in store.names():
        supervisor = read_state(store.home.machine(name)).processes.get("supervisor")
        if supervisor is not None:
            supervisor.signal_group(signal.SIGKILL)
            assert supervisor.wait_gone(10)


def silent(_event: Event) -> None:
    pass


def supervisor_of(store: Store) -> Identity:
    return read_state(store.home.machine(SPEC.name)).processes["supervisor"]


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"waited 20 s for {what}"
        time.sleep(0.01)


def test_a_whole_life(store: Store, ready: ReadyWorkshop, workshop: Workshop) -> None:
    paths = store.create(SPEC).paths
    machine = start(store, "dev", workshop)
    assert machine.running
    assert (machine.image, paths.data_disk.stat().st_size) == ("abc", SPEC.disk)
    begun = [event.name for event in ready.seen if isinstance(event, StageBegun)]
    ended = [event.name for event in ready.seen if isinstance(event, StageEnded) and event.ok]
    assert begun == ended == ALL_STAGES
    assert paths.supervisor_socket.stat().st_mode & 0o777 == 0o600
    supervisor = supervisor_of(store)
    assert os.getsid(supervisor.pid) == supervisor.pid != os.getsid(0)
    assert try_lock(paths.lock) is None

    ready.seen.clear()
    assert start(store, "dev", workshop) == machine  # a running one is left as it is
    assert supervisor_of(store) == supervisor
    assert ready.seen == []

    assert stop(store, "dev", report=ready.report)
    assert not supervisor.alive()
    assert store.load("dev").record.state is State.STOPPED
    assert [type(event) for event in ready.seen] == [StageBegun, StageEnded]
    assert not any(path.exists() for path in paths.sockets)
    assert not stop(store, "dev", report=silent)

    assert start(store, "dev", workshop).running
    with pytest.raises(ConflictError, match="dev is running") as caught:
        delete(store, "dev", force=False, report=silent)
    assert "cove delete --force dev" in (caught.value.hint or "")
    delete(store, "dev", force=True, report=silent)
    assert not paths.root.exists()
    assert not store.exists("dev")


def test_the_plan_is_what_the_driver_needs(store: Store, workshop: Workshop) -> None:
    machine = store.create(replace(SPEC, driver="qemu", accel="tcg"))
    plan = prepare(store, machine, workshop)
    assert LaunchPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert plan.boot.kernel == store.home.images / "abc" / "kernel"
    assert {"qemu-system-x86_64", "gvproxy"} <= set(plan.tools)
    assert plan.host_cpu is None
    uml = prepare(store, store.create(replace(SPEC, name="u")), workshop)
    assert uml.boot.kernel == Path("/bin/linux.uml")
    assert uml.host_cpu in os.sched_getaffinity(0)


def test_one_that_is_not_there(store: Store, workshop: Workshop) -> None:
    for ask in (
        lambda: start(store, "dev", workshop),
        lambda: stop(store, "dev", report=silent),
        lambda: delete(store, "dev", force=True, report=silent),
    ):
        with pytest.raises(NotFoundError, match="there is no machine 'dev'"):
            ask()
    assert not store.home.machine("dev").root.exists()


def test_of_many_that_start_it_at_once_all_have_it(store: Store, workshop: Workshop) -> None:
    store.create(SPEC)
    with ThreadPoolExecutor(4) as pool:
        machines = list(pool.map(lambda _number: start(store, "dev", workshop), range(4)))
    assert {machine.record.processes["supervisor"] for machine in machines} == {supervisor_of(store)}


def test_a_start_whose_client_was_killed_is_gone_on_with(
    store: Store, ready: ReadyWorkshop, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(SPEC)
    monkeypatch.setenv("COVE_TEST_STAGES", "kernel root")

    def killed(_paths: object, _report: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(launching, "_follow", killed)
        with pytest.raises(SystemExit):
            start(store, "dev", workshop)
    until(lambda: store.load("dev").record.state is State.STARTING, "the supervisor to begin")
    first = supervisor_of(store)
    starter = ThreadPoolExecutor(1).submit(start, store, "dev", workshop)
    until(lambda: StageBegun("disk", "Preparing the data disk") in ready.seen, "the stage of the first start")
    assert supervisor_of(store) == first
    assert stop(store, "dev", report=silent)
    with pytest.raises(MachineError, match="dev was stopped while it started"):
        starter.result(20)


@pytest.mark.parametrize(
    ("found", "asked", "then"),
    [
        (State.RESUMING, "/v1/wake", State.RUNNING),
        (State.SUSPENDING, "/v1/suspend", State.RUNNING),  # it could not be written
    ],
)
def test_a_start_waits_for_what_others_began(
    store: Store, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, found: State, asked: str, then: State
) -> None:
    paths = store.create(SPEC).paths
    stand_in = subprocess.Popen(["sleep", "60"], start_new_session=True)
    supervisor = Identity.of(stand_in.pid)
    assert supervisor is not None
    write_state(paths, StateRecord(state=found, reason="", processes={"supervisor": supervisor}))
    calls: list[str] = []

    class Client:
        def __init__(self, *_arguments: object) -> None:
            pass

        def call(self, _method: str, path: str, _body: object = None, *, deadline: float) -> None:
            assert deadline >= 60
            calls.append(path)
            write_state(paths, StateRecord(state=then, reason="", processes={"supervisor": supervisor}))

    monkeypatch.setattr(client, "SupervisorClient", Client)
    assert start(store, "dev", workshop).running
    assert calls == [asked]
    stand_in.kill()
    stand_in.wait()


def test_one_that_is_stopped_while_it_starts(
    store: Store, ready: ReadyWorkshop, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = store.create(SPEC).paths
    monkeypatch.setenv("COVE_TEST_STAGES", "kernel root")
    monkeypatch.setattr(lifecycle, "STAGE_DEADLINE", 60.0)
    starter = ThreadPoolExecutor(1).submit(start, store, "dev", workshop)
    until(lambda: StageBegun("disk", "Preparing the data disk") in ready.seen, "the stage")
    assert stop(store, "dev", report=silent)
    with pytest.raises(MachineError, match="dev was stopped while it started"):
        starter.result(20)
    last = [event for event in ready.seen if isinstance(event, StageEnded)][-1]
    assert (last.name, last.ok) == ("disk", False)
    assert store.load("dev").record.state is State.STOPPED
    assert paths.data_disk.exists()


def test_a_supervisor_that_dies_at_once(
    store: Store, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = store.create(SPEC).paths
    monkeypatch.setenv("COVE_TEST_STAGES", "none")
    with pytest.raises(MachineError, match="the supervisor of dev") as caught:
        start(store, "dev", workshop)
    assert caught.value.log == paths.supervisor_log
    assert "this supervisor dies at once" in paths.supervisor_log.read_text()
    monkeypatch.setenv("COVE_TEST_STAGES", " ".join(STAGES))
    assert start(store, "dev", workshop).running


def test_a_supervisor_that_is_killed_is_noticed_and_recovered_from(store: Store, workshop: Workshop) -> None:
    paths = store.create(SPEC).paths
    start(store, "dev", workshop)
    paths.data_disk.write_text("data")
    first = supervisor_of(store)
    first.signal_group(signal.SIGKILL)
    assert first.wait_gone(10)
    record = store.load("dev").record
    assert (record.state, record.reason) == (
        State.FAILED,
        "the supervisor died while the machine was running",
    )
    assert paths.docker_socket.exists()  # stale
    assert start(store, "dev", workshop).running
    assert supervisor_of(store) != first
    with paths.data_disk.open("rb") as disk:
        assert disk.read(4) == b"data"


def test_stop_clears_what_a_killed_supervisor_left(store: Store, workshop: Workshop) -> None:
    paths = store.create(SPEC).paths
    start(store, "dev", workshop)
    first = supervisor_of(store)
    first.signal_group(signal.SIGKILL)
    assert first.wait_gone(10)
    assert not stop(store, "dev", report=silent)
    assert read_state(paths).state is State.FAILED
    assert not any(path.exists() for path in paths.sockets)
    delete(store, "dev", force=False, report=silent)


def test_a_supervisor_that_does_not_answer_is_killed_when_it_may_not_wait(
    store: Store, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(SPEC)
    start(store, "dev", workshop)
    supervisor = supervisor_of(store)
    os.kill(supervisor.pid, signal.SIGSTOP)
    monkeypatch.setattr(client.SupervisorClient, "call", _refuse)
    monkeypatch.setattr(Identity, "wait_gone", _impatient(Identity.wait_gone))
    with pytest.raises(MachineError, match="no answer"):
        stop(store, "dev", deadline=1, report=silent)
    assert supervisor.alive()
    assert stop(store, "dev", deadline=0, report=silent)
    assert not supervisor.alive()
    assert store.load("dev").record.state is State.FAILED


def _refuse(*_arguments: object, **_options: object) -> None:
    raise MachineError("no answer")


def _impatient(wait_gone: Callable[[Identity, float], bool]) -> Callable[[Identity, float], bool]:
    return lambda identity, deadline: wait_gone(identity, min(deadline, 2 if deadline < 10 else 0.1))


def test_ctrl_c_ends_the_start(store: Store, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(SPEC)
    monkeypatch.setenv("COVE_TEST_STAGES", "kernel")

    def interrupt(_paths: object, _report: object) -> None:
        until(lambda: read_state(store.home.machine("dev")).processes, "the supervisor to begin")
        raise KeyboardInterrupt

    monkeypatch.setattr(launching, "_follow", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start(store, "dev", workshop)
    assert store.load("dev").record.state is State.STOPPED


def test_ctrl_c_ends_no_guest_that_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory would be lost with it; and it takes half a second."""
    machine = store.create(SPEC)

    def interrupt(_paths: object, _report: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launching, "_launch", lambda *_, **__: None)
    monkeypatch.setattr(launching, "_follow", interrupt)
    monkeypatch.setattr(launching, "_abandon", lambda _: pytest.fail("it was ended"))
    with pytest.raises(KeyboardInterrupt):
        launching.run(machine, make_plan(machine.paths, resume=True), store, silent)


def test_nothing_runs_when_the_tools_cannot_be_had(
    store: Store, ready: ReadyWorkshop, workshop: Workshop
) -> None:
    paths = store.create(SPEC).paths
    ready.failure = StorageError("the disk is full")
    with pytest.raises(StorageError):
        start(store, "dev", workshop)
    assert store.load("dev").record.state is State.CREATED
    assert not paths.supervisor_log.exists()


def test_a_machine_that_another_starts_is_not_deleted_under_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = store.create(SPEC).paths
    for module in (lifecycle, launching):
        monkeypatch.setattr(module, "LOCK_DEADLINE", 0.1)
    held = try_lock(paths.start_lock)
    assert held is not None
    with pytest.raises(DeadlineError, match="another process has been starting dev"):
        delete(store, "dev", force=True, report=silent)
    os.close(held)
    supervisor = try_lock(paths.lock)
    assert supervisor is not None
    with pytest.raises(DeadlineError, match="another process has been ending the former run"):
        delete(store, "dev", force=True, report=silent)
    os.close(supervisor)
    assert store.exists("dev")
    delete(store, "dev", force=False, report=silent)
    assert not paths.root.exists()


def test_a_damaged_machine_can_be_deleted(store: Store) -> None:
    paths = store.create(SPEC).paths
    paths.spec.write_text("{")
    left = subprocess.Popen(["sleep", "60"], start_new_session=True)
    identity = Identity.of(left.pid)
    assert identity is not None
    write_state(paths, StateRecord(state=State.RUNNING, processes={"vmm": identity}))
    delete(store, "dev", force=False, report=silent)
    assert left.wait(10) == -9
    assert not paths.root.exists()


def test_events_that_we_do_not_know_are_passed_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = store.create(SPEC).paths
    told = [{"event": "news"}, {"event": "running"}]
    monkeypatch.setattr(client.SupervisorClient, "events", lambda _self, deadline: iter(told))
    launching._follow(paths, silent)
    told.pop()
    with pytest.raises(MachineError, match="ended without a word"):
        launching._follow(paths, silent)


def test_the_plan_is_on_the_disk(store: Store, workshop: Workshop) -> None:
    paths = store.create(SPEC).paths
    start(store, "dev", workshop)
    plan = LaunchPlan.from_dict(read_json(paths.launch))
    assert plan.spec == SPEC
    assert read_state(paths).host_cpu == plan.host_cpu


def test_terminate_is_a_clean_stop(store: Store, workshop: Workshop) -> None:
    store.create(SPEC)
    start(store, "dev", workshop)
    supervisor = supervisor_of(store)
    os.kill(supervisor.pid, signal.SIGHUP)  # its terminal goes: nothing happens
    os.kill(supervisor.pid, signal.SIGTERM)
    assert supervisor.wait_gone(20)
    assert store.load("dev").record.state is State.STOPPED
    assert not store.home.machine("dev").supervisor_socket.exists()


def test_stop_from_many_at_once(store: Store, workshop: Workshop) -> None:
    store.create(SPEC)
    start(store, "dev", workshop)
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(stop(store, "dev", report=silent))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 3
    assert any(results)
    assert store.load("dev").record.state is State.STOPPED


def test_who_cannot_suspend_is_named(store: Store) -> None:
    store.create(SPEC)
    with pytest.raises(UnsupportedError, match="the driver uml cannot suspend") as caught:
        suspend(store, "dev", silent)
    assert "--driver qemu" in (caught.value.hint or "")


def test_suspend_of_what_does_not_run(store: Store) -> None:
    paths = store.create(replace(SPEC, driver="qemu", accel="tcg")).paths
    with pytest.raises(ConflictError, match="dev is created"):
        suspend(store, "dev", silent)
    write_state(paths, StateRecord(state=State.SUSPENDED))
    assert not suspend(store, "dev", silent)


def test_suspended_guest_that_is_gone_or_unfit_is_told_and_the_machine_boots(
    store: Store, ready: ReadyWorkshop, workshop: Workshop
) -> None:
    paths = store.create(SPEC).paths
    write_state(paths, StateRecord(state=State.SUSPENDED))
    assert start(store, "dev", workshop).running
    assert [event.text for event in ready.seen if isinstance(event, Note)] == [
        "dev cannot go on where it was: what was saved of it is gone."
    ]
    stop(store, "dev", deadline=0, report=silent)
    paths.saved.mkdir()
    paths.saved_record.write_text("{}")
    write_state(paths, StateRecord(state=State.SUSPENDED))
    assert start(store, "dev", workshop).running
    assert not paths.saved.exists()


def test_cold_start_asks_nothing_of_the_saved_guest(
    store: Store, ready: ReadyWorkshop, workshop: Workshop
) -> None:
    paths = store.create(SPEC).paths
    paths.saved.mkdir()
    paths.saved_record.write_text("{}")
    write_state(paths, StateRecord(state=State.SUSPENDED))
    assert start(store, "dev", workshop, cold=True).running
    assert not any(isinstance(event, Note) for event in ready.seen)
    assert not paths.saved.exists()


@pytest.mark.parametrize("deadline", [0, 30.0])
def test_stop_of_a_suspended_machine_that_cannot_go_on_gives_its_guest_up(
    store: Store, deadline: float
) -> None:
    paths = store.create(SPEC).paths
    paths.saved.mkdir()
    paths.saved_record.write_text("{}")
    write_state(paths, StateRecord(state=State.SUSPENDED))
    assert not stop(store, "dev", deadline=deadline, report=silent)
    assert read_state(paths).state is State.STOPPED
    assert not paths.saved.exists()
