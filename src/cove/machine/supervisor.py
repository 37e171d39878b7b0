# SPDX-License-Identifier: Apache-2.0
"""One process per machine: owns gvproxy and the VMM, watches them, and stops them in order.

Started by :mod:`cove.machine.lifecycle` with a listening socket and the machine's lock, both as descriptors that
it keeps until it ends. It has no poll loop: it wakes for a request, for a console line, or when a child ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from cove.errors import ConflictError, CoveError, DeadlineError, GuestError, MachineError
from cove.guest.client import GuestClient
from cove.guest.relay import Relay
from cove.machine.boot_watch import BootWatch
from cove.machine.crew import Crew
from cove.machine.journal import Journal
from cove.machine.parts import Companion, Front, Network, ShareServer
from cove.machine.plan import LaunchPlan
from cove.machine.recorder import Recorder
from cove.machine.saved.folder import SavedGuest
from cove.machine.saving import Saving
from cove.machine.share_holders import LostFiles
from cove.machine.stages import GUEST_STAGES
from cove.machine.state import State
from cove.machine.store import StateRecord
from cove.machine.trial import Trial
from cove.machine.waking import Cutter, wake
from cove.system.paths import MachinePaths
from cove.vmm.base import Vm, Vmm, check_suspend

log = logging.getLogger("cove.supervisor")

_CONNECTED = "network"
"""The stage at which a VMM has opened all that it opens; nothing but the image's own programs ran until then."""

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
        trial_shares: the same again, for the VMM that tries a saved guest.
        lost_files: explains why a machine with shares could not be suspended.
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
        trial_shares: Sequence[ShareServer] = (),
        lost_files: LostFiles | None = None,
        before_running: Callable[[], Awaitable[None]] | None = None,
        before_stopping: Callable[[], None] | None = None,
    ) -> None:
        self.paths = paths
        self.plan = plan
        self.journal = Journal()
        self.ended = asyncio.Event()
        self._driver = driver
        self._crew = Crew(paths, plan, driver, network, shares)
        trial = Trial(paths, plan, driver, trial_shares)
        self._saving = Saving(paths, plan, driver, self._crew, trial, lost_files)
        self._watched = BootWatch(paths.name, paths.console_log)
        self._recorder = Recorder(paths, plan.host_cpu)
        self._front = front or Relay(paths.docker_socket, paths.relay_socket)
        self._companions = companions
        self._before_running = before_running
        self._before_stopping = before_stopping
        self._company: list[asyncio.Task[None]] = []
        self._stop_asked = asyncio.Event()
        self._stop_deadline = 30.0
        self._asked = asyncio.Event()
        self._suspensions: list[asyncio.Future[None]] = []

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
        self._asked.set()

    async def suspend(self) -> None:
        """Write the guest to the disk and end; returns when it is whole there, and nothing runs for it any more.

        Raises:
            ConflictError: the machine does not run.
            UnsupportedError: its driver cannot suspend.
            CoveError: it could not be written; the machine goes on.
        """
        check_suspend(self._driver, self.plan.spec)
        if self.record.state not in (State.RUNNING, State.SUSPENDING):
            raise ConflictError(
                f"{self.paths.name} is {self.record.state}", hint="Only a running machine can be suspended."
            )
        done = asyncio.get_running_loop().create_future()
        self._suspensions.append(done)
        self._asked.set()
        await done

    async def run(self) -> None:
        """The whole life: start, watch, stop. Leaves nothing running and the end's reason in state.json."""
        self._enter(State.RESUMING if self.plan.resume else State.STARTING, "")
        try:
            await self._until_asked(self._resume() if self.plan.resume else self._start())
            if not self._stop_asked.is_set():
                await self._live()
            if self.record.state is not State.SUSPENDED:
                await self._stop()
        except Exception as failure:  # noqa: BLE001  (nobody is above us who could tell the user)
            error = failure if isinstance(failure, CoveError) else _defect(failure)
            # no traceback: the error is for the user, and whole
            log.error("%s\n%s", error.message, error.details or "")  # noqa: TRY400
            await self._clear()
            waits = self.record.state is State.RESUMING and SavedGuest(self.paths.saved).exists
            self._enter(State.SUSPENDED if waits else State.FAILED, error.message)
            self.journal.failed(error)
        finally:
            await self._clear()
            _tell(self._suspensions, MachineError(f"{self.paths.name} has ended"))
            self.ended.set()

    async def _live(self) -> None:
        """From running to the wish for a stop, the guest's own end, or suspended."""
        self.journal.running()
        companions = [*self._companions, *([Cutter(self.paths)] if self.plan.resume else [])]
        self._company += [asyncio.create_task(_accompany(one)) for one in companions]
        while not self._stop_asked.is_set() and self.record.state is State.RUNNING:
            await self._until_asked(self._watch())
            if self._suspensions and self.record.state is State.RUNNING:
                await self._suspend()

    async def _until_asked(self, work: Coroutine[None, None, None]) -> None:
        """Do ``work``, but leave it as soon as something is asked for."""
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self._asked.wait())
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not task.done():
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            if not self._asked.is_set():
                raise

    async def _suspend(self) -> None:
        """Save the guest and end all that runs for it; when it cannot be saved, the guest goes on."""
        asked, self._suspensions = self._suspensions, []
        if not self._stop_asked.is_set():
            self._asked.clear()
        self._enter(State.SUSPENDING, "")
        try:
            await self._saving.save(SavedGuest(self.paths.saved))
        except Exception as failure:  # noqa: BLE001  (whatever it is, the guest has to go on)
            await self._saving.go_on()
            self._enter(State.RUNNING, "")
            error = await self._saving.explain(failure)
            log.warning("not suspended: %s\n%s", error.message, error.details or "")
            _tell(asked, error)
            return
        await self._clear()
        self._enter(State.SUSPENDED, "asked for")
        _tell(asked, None)

    async def _resume(self) -> None:
        self.journal.begin("resume", "Waking the guest")
        await wake(self.paths, self._crew, self._watched.on_console)
        self._recorder.processes(self._crew.identities())
        await self._front.start()
        self.journal.end()
        await self._get_ready()

    async def _start(self) -> None:
        # the disk is about to be changed: a guest that was saved with it would not fit any more
        SavedGuest(self.paths.saved).discard()
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
            if stage is GUEST_STAGES[0]:
                self._crew.hide_memory()
            if stage.name == _CONNECTED:
                self._crew.seal()  # before the first container
        await self._get_ready()

    async def _get_ready(self) -> None:
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


def _tell(waiting: Iterable[asyncio.Future[None]], error: CoveError | None) -> None:
    """Tell those who asked for a suspension what came of it; some may be gone."""
    for one in waiting:
        if not one.done():
            one.set_exception(error) if error is not None else one.set_result(None)


def _defect(failure: Exception) -> MachineError:
    """An error that nobody foresaw, as one that users can report."""
    log.error("a defect in Cove", exc_info=failure)
    return MachineError(
        f"a defect in Cove ended the machine: {type(failure).__name__}: {failure}",
        hint="Please report it with the log.",
    )
