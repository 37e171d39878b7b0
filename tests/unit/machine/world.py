# SPDX-License-Identifier: Apache-2.0
"""A machine without a guest: the fake driver, a network that is a few futures, and a short home."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from cove.machine.api import application
from cove.machine.crew import Crew
from cove.machine.plan import LaunchPlan
from cove.machine.store import Store
from cove.machine.supervisor import Supervisor
from cove.spec.machine import MachineSpec
from cove.system.paths import Home, MachinePaths
from cove.system.process import Command, Identity
from cove.vmm.base import BootFiles, OnConsole, Ready, Runtime, Vm
from cove.vmm.fake import STAGES, Fake, FakeVm

SPEC = MachineSpec(name="dev", driver="uml", accel="none", cpus=1, memory=2**30, disk=2**30)
DEADLINE = 20.0


@contextmanager
def short_home() -> Iterator[Home]:
    """A home of its own; pytest's folders are too deep for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="cove-") as folder:
        yield Home(Path(folder), Path(folder) / "cache")


def make_plan(
    paths: MachinePaths, spec: MachineSpec = SPEC, host_cpu: int | None = None, *, resume: bool = False
) -> LaunchPlan:
    return LaunchPlan(
        spec=spec,
        boot=BootFiles(
            kernel=Path("/k"),
            initrd=Path("/i"),
            root=Path("/r"),
            data=paths.data_disk,
            settings=paths.settings,
            cmdline="quiet",
        ),
        tools={"gvproxy": Command(("/bin/gvproxy",), {"X": "1"})},
        firmware=(Path("/firmware"),),
        memory_dir=paths.root,
        host_cpu=host_cpu,
        resume=resume,
    )


@dataclass
class Wire:
    """A network that carries nothing; ends when told to."""

    identity: Identity | None = None
    failure: Exception | None = None
    calls: list[str] = field(default_factory=list)
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def start(self) -> None:
        self.calls.append("start")
        if self.failure is not None:
            raise self.failure

    def seal(self) -> None:
        self.calls.append("seal")

    async def expose_unix(self, path: Path, guest_port: int) -> None:
        self.calls.append(f"{path.name} -> {guest_port}")

    async def wait(self) -> str:
        return await asyncio.shield(self.ended)

    async def stop(self) -> None:
        self.calls.append("stop")


class WatchedFake(Fake):
    """The fake driver, with its machine at hand."""

    vm: Vm | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.started: list[Runtime] = []

    async def start(
        self, command: Command, runtime: Runtime, on_console: OnConsole, ready: Ready | None = None
    ) -> Vm:
        vm = await super().start(command, runtime, on_console, ready)
        self.started.append(runtime)
        if runtime.net_socket.name != "n":  # that is one on trial
            self.say, self.vm = on_console, vm
        return vm


@dataclass
class Run:
    """A supervisor at work."""

    supervisor: Supervisor
    driver: WatchedFake
    wire: Wire
    task: asyncio.Task[None]

    @property
    def vm(self) -> FakeVm:
        assert isinstance(self.driver.vm, FakeVm)
        return self.driver.vm

    async def events(self) -> list[dict[str, object]]:
        """What the journal says until the start ended one way or the other."""
        async with asyncio.timeout(DEADLINE):
            return [event async for event in self.supervisor.journal.follow()]

    async def heard(self, word: str) -> None:
        """Wait for one event, as :func:`names` has it."""
        async with asyncio.timeout(DEADLINE):
            async for event in self.supervisor.journal.follow():
                if names([event]) == [word]:
                    return
        raise AssertionError(f"the start ended without {word}")

    async def end(self) -> None:
        await asyncio.wait_for(self.task, DEADLINE)


@asynccontextmanager
async def running(
    store: Store, *, driver: WatchedFake | None = None, wire: Wire | None = None, resume: bool = False
) -> AsyncIterator[Run]:
    """A supervisor that has just begun its work on the machine of :data:`SPEC`, made if need be."""
    if not store.exists(SPEC.name):
        store.create(SPEC)
    paths = store.home.machine(SPEC.name)
    driver, wire = driver or WatchedFake(), wire or Wire()
    plan = make_plan(paths, resume=resume)
    supervisor = Supervisor(paths, plan, driver, Crew(paths, plan, driver, wire, ()))
    run = Run(supervisor, driver, wire, asyncio.create_task(supervisor.run()))
    try:
        yield run
    finally:
        supervisor.ask_to_stop(0)
        await run.end()


@asynccontextmanager
async def serving(supervisor: Supervisor) -> AsyncIterator[Path]:
    """The supervisor's API on its real socket."""
    runner = web.AppRunner(application(supervisor), access_log=None, shutdown_timeout=1)
    await runner.setup()
    path = supervisor.paths.supervisor_socket
    await web.UnixSite(runner, str(path)).start()
    try:
        yield path
    finally:
        await runner.cleanup()


def names(events: Sequence[dict[str, object]]) -> list[str]:
    """Events as short words."""
    return [" ".join(str(event[key]) for key in ("event", "name") if key in event) for event in events]


def stages_until(last: str) -> tuple[str, ...]:
    """The stages up to ``last``: a guest that hangs there."""
    return STAGES[: STAGES.index(last) + 1]
