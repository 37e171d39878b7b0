# SPDX-License-Identifier: Apache-2.0
"""One process per machine: owns gvproxy and the VMM, watches them, and stops them in order.

Started by :mod:`cove.machine.lifecycle` with a listening socket and the machine's lock, both as descriptors that
it keeps until it ends. It has no poll loop: it wakes for a request, for a console line, or when a child ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cove.errors import ConflictError, CoveError, MachineError, StorageError
from cove.guest.relay import Relay
from cove.machine.boot_watch import BootWatch
from cove.machine.company import Company
from cove.machine.course import Course
from cove.machine.crew import Crew
from cove.machine.gate import Gate
from cove.machine.journal import Journal
from cove.machine.parts import Companion, Front, Idle, ShareServer
from cove.machine.plan import LaunchPlan
from cove.machine.power_off import ask_to_power_off
from cove.machine.recorder import Recorder
from cove.machine.room_keeper import RoomKeeper, Watching
from cove.machine.saved.folder import SavedGuest
from cove.machine.saving import Saving
from cove.machine.share_holders import LostFiles
from cove.machine.stages import GUEST_STAGES
from cove.machine.state import State
from cove.machine.store import StateRecord
from cove.machine.trial import Trial
from cove.machine.waking import Aftermath, wake
from cove.machine.wishes import Wishes
from cove.system.paths import MachinePaths
from cove.vmm.base import Vmm, check_suspend

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
        crew: what runs for it; nothing yet, or a saved guest that is being loaded.
        watched: the guest's console, if something was begun already.
        front: what serves the engine's API; by default a plain relay.
        companions: what goes on beside it while it runs.
        trial_shares: the same again, for the VMM that tries a saved guest.
        lost_files: explains why a machine with shares could not be suspended.
        gate: what clients on the host pass on their way to the guest; closed while it sleeps.
        idle: suspends it when nothing happens.
        course: what its start has reached so far; recorded when it runs, or failed.
        before_running: what has to be done between the engine's first answer and the word that the machine runs.
        before_stopping: what has to be done before a running guest is asked to stop.
    """

    def __init__(
        self,
        paths: MachinePaths,
        plan: LaunchPlan,
        driver: Vmm,
        crew: Crew,
        *,
        watched: BootWatch | None = None,
        front: Front | None = None,
        companions: Sequence[Companion] = (),
        trial_shares: Sequence[ShareServer] = (),
        lost_files: LostFiles | None = None,
        gate: Gate | None = None,
        idle: Idle | None = None,
        course: Course | None = None,
        before_running: Callable[[], Awaitable[None]] | None = None,
        before_stopping: Callable[[], None] | None = None,
    ) -> None:
        self.paths = paths
        self.plan = plan
        self.journal = Journal()
        self.ended = asyncio.Event()
        self._driver = driver
        self.begun = asyncio.Event()
        """Its start has succeeded or failed."""
        self._crew = crew
        trial = Trial(paths, plan, driver, trial_shares)
        self._saving = Saving(paths, plan, driver, self._crew, trial, lost_files)
        self._gate = gate or Gate()
        self._idle = idle
        self._course = course or Course()
        self._watched = watched or BootWatch(paths.name, paths.console_log, self._course)
        self._recorder = Recorder(paths, plan.host_cpu)
        self._front = front or Relay(paths.docker_socket, paths.relay_socket)
        self._companions = companions
        self._before_running = before_running
        self._before_stopping = before_stopping
        self._company = Company()
        self._wishes = Wishes()
        self._room = RoomKeeper(paths.root, self._recorder.say)

    @property
    def record(self) -> StateRecord:
        """How the machine is."""
        return self._recorder.record

    def tell_ports(self, ports: Sequence[Mapping[str, Any]]) -> None:
        """Record what containers have published."""
        self._recorder.ports(ports)

    def set_idle(self, minutes: int) -> None:
        """Change after how many minutes in which nothing happens it is suspended; 0 for never."""
        if self._idle is not None:
            self._idle.set_minutes(minutes)

    def ask_to_stop(self, deadline: float) -> None:
        """Begin a clean stop that may take ``deadline`` seconds; :attr:`ended` says when it is done."""
        self._wishes.ask_to_stop(deadline)

    async def suspend(self, *, asleep: bool = False) -> None:
        """Write the guest to the disk; returns when it is whole there, and nothing of it runs any more.

        Args:
            asleep: stay, with the engine's socket and the ports open, and let the first client wake the guest.

        Raises:
            ConflictError: the machine does not run.
            UnsupportedError: its driver cannot suspend.
            CoveError: it could not be written; the machine goes on.
        """
        check_suspend(self._driver, self.plan.spec)
        if self._gate.closed and asleep:
            return
        if self.record.state not in (State.RUNNING, State.SUSPENDING) and not self._gate.closed:
            raise ConflictError(
                f"{self.paths.name} is {self.record.state}", hint="Only a running machine can be suspended."
            )
        await self._wishes.ask_to_suspend(asleep=asleep)

    async def wake(self) -> None:
        """Have a sleeping guest go on; returns when it runs, at once if it does.

        Raises:
            MachineError: it could not go on.
        """
        try:
            await self._gate.awake()
        except ConnectionRefusedError as error:
            raise MachineError(f"{self.paths.name} has ended: {self.record.reason}") from error

    async def run(self) -> None:
        """The whole life: start, watch, stop. Leaves nothing running and the end's reason in state.json."""
        self._enter(State.RESUMING if self.plan.resume else State.STARTING, "")
        self._course.reach("supervisor")
        try:
            try:
                await self._wishes.or_leave(self._resume() if self.plan.resume else self._start())
            finally:
                self.begun.set()
                self._keep_course()
            if not self._wishes.stop:
                await self._live()
            if self.record.state not in (State.SUSPENDED, State.STOPPED):
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
            self._gate.shut()
            await self._clear()
            self._wishes.take_suspensions().answer(MachineError(f"{self.paths.name} has ended"))
            self.ended.set()

    def _keep_course(self) -> None:
        try:
            self._course.save(self.paths.boot)
        except StorageError as error:  # a table for people; the machine does not need it
            log.warning("when this start reached which stage is not recorded: %s", error.message)

    async def _live(self) -> None:
        """From running to the wish for a stop, the guest's own end, or suspended for good."""
        self.journal.running()
        self._begin_company(woken=self.plan.resume)
        while not self._wishes.stop and self.record.state is State.RUNNING:
            await self._wishes.or_leave(self._watch())
            if self._wishes.suspend and self.record.state is State.RUNNING and await self._suspend():
                await self._sleep()

    def _begin_company(self, *, woken: bool) -> None:
        own: list[Companion] = [Aftermath(self.paths)] if woken else []
        if self._crew.vm is not None:
            own.append(Watching(self._room, self._crew.vm))
        self._company.begin([*self._companions, *own])

    async def _suspend(self) -> bool:
        """Save the guest and end all that runs for it; when it cannot be saved, the guest goes on.

        Returns:
            whether we stay, to wake it.
        """
        asked = self._wishes.take_suspensions()
        try:
            self._enter(State.SUSPENDING, "")
            await self._save()
        except Exception as failure:  # noqa: BLE001  (whatever it is, the guest has to go on)
            await self._saving.go_on(stands=self._room.stands)
            self._enter(State.RUNNING, self._room.reason)
            error = await self._saving.explain(failure)
            log.warning("not suspended: %s\n%s", error.message, error.details or "")
            asked.answer(error)
            return False
        if asked.asleep:
            self._gate.close()  # before what leads to the guest ends
            await self._company.end()
            await self._crew.end()
            self._recorder.sleep("it wakes when it is used")
        else:
            await self._clear()
            self._enter(State.SUSPENDED, "asked for")
        asked.answer()
        return asked.asleep

    async def _save(self) -> None:
        """Save the guest, unless it stands still: writing all to its disk is the first that it is asked for."""
        if self._room.stands:
            raise self._room.error()
        saving = asyncio.ensure_future(self._saving.save(SavedGuest(self.paths.saved)))
        standing = asyncio.ensure_future(self._room.standing())
        try:
            await asyncio.wait({saving, standing}, return_when=asyncio.FIRST_COMPLETED)
            if standing.done() and not saving.done():
                raise self._room.error()
            await saving
        finally:
            for task in (saving, standing):
                task.cancel()
            await asyncio.gather(saving, standing, return_exceptions=True)

    async def _sleep(self) -> None:
        """Until somebody wants the guest, which goes on then; or wants it to stay on the disk, or be given up."""
        await self._wishes.or_leave(self._gate.knocked())
        asked = self._wishes.take_suspensions()
        if self._wishes.stop and self._wishes.deadline <= 0:
            SavedGuest(self.paths.saved).discard()
            self._enter(State.STOPPED, "its suspended guest was given up")
        elif asked and not asked.asleep and not self._wishes.stop:
            await self._clear()
            self._recorder.leave("asked for")
        else:
            self._enter(State.RESUMING, "")
            await self._wake()
            # its ports were kept, so there is nothing to get ready
            self._enter(State.RUNNING, "")
            self._gate.settle()
            self._begin_company(woken=True)
        asked.answer()

    async def _resume(self) -> None:
        self.journal.begin("resume", "Waking the guest")
        self._gate.close()  # who comes now waits for the guest
        await self._front.start()
        await self._wake()
        self.journal.end()
        self._course.reach("resume")
        await self._get_ready()

    async def _wake(self) -> None:
        await wake(self.paths, self._crew, self._watched.on_console, self._gate.open)
        self._recorder.processes(self._crew.identities())

    async def _start(self) -> None:
        # the disk is about to be changed: a guest that was saved with it would not fit any more
        SavedGuest(self.paths.saved).discard()
        self.journal.begin("link", "Wiring the network")
        await self._crew.start_services()
        await self._front.start()
        self.journal.end()
        self._course.reach("link")
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
        self._gate.settle()
        self._course.reach("ready")

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
        end = time.monotonic() + self._wishes.deadline
        reason = self.record.reason or "asked for"
        if self._crew.vm is not None:
            if self._before_stopping is not None:
                self._before_stopping()
            await ask_to_power_off(self.paths, self._crew.vm)
            if await self._crew.vm_end(max(0.0, end - time.monotonic())) is None:
                reason = f"did not stop within {self._wishes.deadline:.0f} s and was ended"
                log.warning("the guest %s", reason)
        await self._clear()
        self._enter(State.STOPPED, reason)
        if not self.journal.times or self.record.stages == ():
            self.journal.failed(MachineError(f"{self.paths.name} was stopped while it started"))

    async def _clear(self) -> None:
        """End what still runs and remove the sockets."""
        await self._company.end()
        await self._front.stop()
        await self._crew.end()
        for path in self.paths.sockets:
            if path != self.paths.supervisor_socket:
                path.unlink(missing_ok=True)

    def _enter(self, state: State, reason: str) -> None:
        self._recorder.enter(state, reason, self.journal.times)


def _defect(failure: Exception) -> MachineError:
    """An error that nobody foresaw, as one that users can report."""
    log.error("a defect in Cove", exc_info=failure)
    return MachineError(
        f"a defect in Cove ended the machine: {type(failure).__name__}: {failure}",
        hint="Please report it with the log.",
    )
