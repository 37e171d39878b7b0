# SPDX-License-Identifier: Apache-2.0
"""One process per machine: owns gvproxy and the VMM, watches them, and stops them in order.

Started by :mod:`cove.machine.lifecycle` with a listening socket and the machine's lock, both as descriptors that
it keeps until it ends. It has no poll loop: it wakes for a request, for a console line, or when a child ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from cove.errors import CoveError, DeadlineError, GuestError, MachineError
from cove.guest.client import GuestClient
from cove.guest.relay import Relay
from cove.machine.boot_watch import BootWatch
from cove.machine.crew import Crew
from cove.machine.journal import Journal
from cove.machine.parts import Companion, Front, Network, ShareServer
from cove.machine.plan import LaunchPlan
from cove.machine.recorder import Recorder
from cove.machine.stages import GUEST_STAGES
from cove.machine.state import State
from cove.machine.store import StateRecord
from cove.system.paths import MachinePaths
from cove.vmm.base import Vm, Vmm

log = logging.getLogger("cove.supervisor")

_AT_ONCE = 0.05
_LAST_STEP = 10.0
"""Seconds from a guest's last word, that all is flushed, to the end of its VMM."""


class Supervisor:
    """One start of one machine.

    Args:
        paths: the machine's files.
        plan: what to start.
        driver: who starts it.
        network: what carries its packets; not started yet.
        front: what serves the engine's API; by default a plain relay.
        companions: what goes on beside it while it runs.
        shares: what serves the host's folders to it, in the order of their tags.
        before_running: what has to be done between the engine's first answer and the word that the machine runs.
        before_stopping: what has to be done before a running guest is asked to stop.
    """

    def __init__(
        self,
        paths: MachinePaths,
        plan: LaunchPlan,
        driver: Vmm,
        network: Network,
        *,
        front: Front | None = None,
        companions: Sequence[Companion] = (),
        shares: Sequence[ShareServer] = (),
        before_running: Callable[[], Awaitable[None]] | None = None,
        before_stopping: Callable[[], None] | None = None,
    ) -> None:
        self.paths = paths
        self.plan = plan
        self.journal = Journal()
        self.ended = asyncio.Event()
        self._crew = Crew(paths, plan, driver, network, shares)
        self._watched = BootWatch(paths.name, paths.console_log)
        self._recorder = Recorder(paths, plan.host_cpu)
        self._front = front or Relay(paths.docker_socket, paths.relay_socket)
        self._companions = companions
        self._before_running = before_running
        self._before_stopping = before_stopping
        self._company: list[asyncio.Task[None]] = []
        self._stop_asked = asyncio.Event()
        self._stop_deadline = 30.0

    @property
    def record(self) -> StateRecord:
        """How the machine is."""
        return self._recorder.record

    def tell_ports(self, ports: Sequence[Mapping[str, Any]]) -> None:
        """Record what containers have published."""
        self._recorder.ports(ports)

    def ask_to_stop(self, deadline: float) -> None:
        """Begin a clean stop that may take ``deadline`` seconds; :attr:`ended` says when it is done."""
        self._stop_deadline = deadline
        self._stop_asked.set()

    async def run(self) -> None:
        """The whole life: start, watch, stop. Leaves nothing running and the end's reason in state.json."""
        self._enter(State.STARTING, "")
        try:
            await self._until_stop_asked(self._start())
            if not self._stop_asked.is_set():
                self._company += [asyncio.create_task(_accompany(one)) for one in self._companions]
                self.journal.running()
                await self._until_stop_asked(self._watch())
            await self._stop()
        except Exception as failure:  # noqa: BLE001  (nobody is above us who could tell the user)
            error = failure if isinstance(failure, CoveError) else _defect(failure)
            # no traceback: the error is for the user, and whole
            log.error("%s\n%s", error.message, error.details or "")  # noqa: TRY400
            await self._clear()
            self._enter(State.FAILED, error.message)
            self.journal.failed(error)
        finally:
            await self._clear()
            self.ended.set()

    async def _until_stop_asked(self, work: Coroutine[None, None, None]) -> None:
        """Do ``work``, but leave it as soon as a stop is asked for."""
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self._stop_asked.wait())
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not task.done():
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            if not self._stop_asked.is_set():
                raise

    async def _start(self) -> None:
        self.journal.begin("link", "Wiring the network")
        await self._crew.start_services()
        await self._front.start()
        self.journal.end()
        await self._crew.start_vm(self._watched.on_console)
        self._recorder.processes(self._crew.identities())
        for stage in GUEST_STAGES:
            self.journal.begin(stage.name, stage.label)
            await self._watched.reach(stage, self._crew.first_end)
            self.journal.end()
        if self._before_running is not None:
            await self._before_running()
        self._enter(State.RUNNING, "")

    async def _watch(self) -> None:
        """Wait for the end of a running machine.

        Raises:
            MachineError: a child died. A guest that powered itself off is no error.
        """
        reason = await self._crew.first_end()
        # what serves a guest ends when the guest lets go of it: that may be seen before the end of the VMM
        exit_ = await self._crew.vm_end(_LAST_STEP if self._watched.guest_stopped else _AT_ONCE)
        if exit_ is not None and exit_.clean:
            self._enter(State.STOPPING, "the guest powered itself off")
            return
        raise MachineError(
            f"{self.paths.name} died: {reason}",
            details=self._watched.tail or None,
            hint=f"cove start {self.paths.name} starts it again; what was synced is there.",
            log=self.paths.console_log,
        )

    async def _stop(self) -> None:
        if self.record.state is not State.STOPPING:
            self._enter(State.STOPPING, "")
        end = time.monotonic() + self._stop_deadline
        reason = self.record.reason or "asked for"
        if self._crew.vm is not None:
            if self._before_stopping is not None:
                self._before_stopping()
            await self._ask_guest_to_power_off(self._crew.vm)
            if await self._crew.vm_end(max(0.0, end - time.monotonic())) is None:
                reason = f"did not stop within {self._stop_deadline:.0f} s and was ended"
                log.warning("the guest %s", reason)
        await self._clear()
        self._enter(State.STOPPED, reason)
        if not self.journal.times or self.record.stages == ():
            self.journal.failed(MachineError(f"{self.paths.name} was stopped while it started"))

    async def _ask_guest_to_power_off(self, vm: Vm) -> None:
        try:
            client = GuestClient(self.paths.agent_socket, deadline=3)
            await asyncio.to_thread(client.call, "poweroff", mode="poweroff")
        except (GuestError, DeadlineError) as error:
            log.warning("the agent could not be asked to power off: %s; pressing the button", error.message)
            try:
                await vm.power_button()
            except CoveError as refused:
                log.warning("the power button failed: %s", refused.message)

    async def _clear(self) -> None:
        """End what still runs and remove the sockets."""
        for task in self._company:
            task.cancel()
        await asyncio.gather(*self._company, return_exceptions=True)
        self._company.clear()
        await self._front.stop()
        await self._crew.end()
        for path in self.paths.sockets:
            if path != self.paths.supervisor_socket:
                path.unlink(missing_ok=True)

    def _enter(self, state: State, reason: str) -> None:
        self._recorder.enter(state, reason, self.journal.times)


async def _accompany(companion: Companion) -> None:
    try:
        await companion.run()
    except Exception:
        log.exception("%s ended; the machine goes on without it", type(companion).__name__)


def _defect(failure: Exception) -> MachineError:
    """An error that nobody foresaw, as one that users can report."""
    log.error("a defect in Cove", exc_info=failure)
    return MachineError(
        f"a defect in Cove ended the machine: {type(failure).__name__}: {failure}",
        hint="Please report it with the log.",
    )
