# SPDX-License-Identifier: Apache-2.0
"""One process per machine: owns gvproxy and the VMM, watches them, and stops them in order.

Started by :mod:`cove.machine.lifecycle` with a listening socket and the machine's lock, both as descriptors that
it keeps until it ends. It has no poll loop: it wakes for a request, for a console line, or when a child ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cove.errors import CoveError, DeadlineError, GuestError, MachineError
from cove.guest.client import GuestClient
from cove.guest.relay import Relay
from cove.host.ports import ephemeral_range
from cove.machine.bounds import vmm_bounds
from cove.machine.journal import Journal
from cove.machine.memory import MemoryFolder
from cove.machine.plan import LaunchPlan
from cove.machine.stages import GUEST_STAGES, GaveUp, Reached, Stage, parse_console
from cove.machine.state import State, check_transition
from cove.machine.store import StateRecord, read_state, write_state
from cove.spec.shares import kernel_words
from cove.system.files import private_folder
from cove.system.paths import MachinePaths
from cove.system.process import Identity
from cove.vmm.base import Exit, Runtime, Vm, Vmm

log = logging.getLogger("cove.supervisor")

RELAY_PORT = 1025
"""Where the guest agent relays the engine's API, on the outer device only."""

CONTROL_PORT = 1024
"""Where the guest agent takes requests, on the outer device only."""

MTU = 9000
"""Bytes of the largest packet, on every link: four times the throughput of 1500 through gvproxy."""

_AT_ONCE = 0.05
_LAST_STEP = 10.0
"""Seconds from a guest's last word, that all is flushed, to the end of its VMM."""

TAIL = 25
"""Console lines that an error about a failed start carries."""


class Network(Protocol):
    """What a supervisor needs of :class:`cove.net.gvproxy.Gvproxy`."""

    @property
    def identity(self) -> Identity | None:
        """Its process, once it was started."""

    async def start(self) -> None:
        """Start it; returns when it can be asked for things."""

    async def expose_unix(self, path: Path, guest_port: int) -> None:
        """Let a socket on the host, for its owner only, lead to a port of the guest."""

    async def wait(self) -> str:
        """Wait for its end; returns its last words."""

    async def stop(self) -> None:
        """End it; not running is fine."""


class Front(Protocol):
    """What serves the engine's API on the host."""

    async def start(self) -> None:
        """Listen; the guest may not be up yet."""

    async def stop(self) -> None:
        """Listen no more, and close what is open."""


class ShareServer(Protocol):
    """What a supervisor needs of :class:`cove.vmm.virtiofsd.ShareDaemon`."""

    tag: str
    socket_path: Path

    @property
    def identity(self) -> Identity | None:
        """Its process, once it was started."""

    async def start(self) -> None:
        """Start it; the VMM can connect then."""

    async def wait(self) -> str:
        """Wait for its end; returns its last words."""

    async def stop(self) -> None:
        """End it; not running is fine."""


class Companion(Protocol):
    """Work that goes on beside a running machine. One that fails is logged; the machine goes on."""

    async def run(self) -> None:
        """Do it until cancelled; leaves nothing behind then."""


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
    ) -> None:
        self.paths = paths
        self.plan = plan
        self.journal = Journal()
        self._driver = driver
        self._record = replace(read_state(paths), state=State.FAILED, processes={}, stages=(), ports=())
        self._console: asyncio.Queue[Reached | GaveUp] = asyncio.Queue()
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._network = network
        self._vm: Vm | None = None
        self._front = front or Relay(paths.docker_socket, paths.relay_socket)
        self._companions = companions
        self._shares = shares
        self._before_running = before_running
        self._company: list[asyncio.Task[None]] = []
        self._memory: MemoryFolder | None = None
        self._guest_stopped = False
        self._stop_asked = asyncio.Event()
        self._stop_deadline = 30.0
        self.ended = asyncio.Event()

    @property
    def record(self) -> StateRecord:
        """How the machine is."""
        return self._record

    def tell_ports(self, ports: Sequence[Mapping[str, Any]]) -> None:
        """Record what containers have published."""
        self._record = replace(self._record, ports=tuple(ports))
        write_state(self.paths, self._record)

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
        for folder in (self.paths.net_dir, self.paths.vm_dir):
            private_folder(folder)
        self._memory = MemoryFolder(self.plan.memory_dir, self.paths.root)
        runtime = self._runtime(self._memory.path)
        self.journal.begin("link", "Wiring the network")
        await self._network.start()
        await self._network.expose_unix(self.paths.relay_socket, RELAY_PORT)
        await self._network.expose_unix(self.paths.agent_socket, CONTROL_PORT)
        await self._front.start()
        for share in self._shares:
            await share.start()
        self.journal.end()
        command = self._driver.command(self.plan.spec, self.plan.boot, runtime, self.plan.tools)
        runtime = replace(runtime, confinement=vmm_bounds(self.plan, self.paths, command, runtime.memory_dir))
        log.info("starting %s", " ".join(command.argv))
        self._vm = await self._driver.start(command, runtime, self._on_console)
        self._remember_processes()
        for stage in GUEST_STAGES:
            self.journal.begin(stage.name, stage.label)
            await self._await_stage(stage)
            self.journal.end()
        if self._before_running is not None:
            await self._before_running()
        self._enter(State.RUNNING, "")

    def _runtime(self, memory: Path) -> Runtime:
        first, last = ephemeral_range(str(self.paths.root))
        return Runtime(
            net_socket=self.paths.network_socket,
            qmp_socket=self.paths.qmp_socket,
            uml_dir=self.paths.uml_dir,
            console_log=self.paths.console_log,
            memory_dir=memory,
            words=(
                f"cove.hostname={self.paths.name}",
                f"cove.ports={first}-{last}",
                *kernel_words(self.plan.spec.shares, self.plan.hidden),
            ),
            shares=tuple(share.socket_path for share in self._shares),
            firmware=self.plan.firmware,
            mtu=MTU,
            host_cpu=self.plan.host_cpu,
        )

    def _on_console(self, line: str) -> None:
        self._tail.append(line)
        said = parse_console(line)
        if said is not None:
            log.info("the guest: %s", line)
            self._console.put_nowait(said)
            self._guest_stopped |= isinstance(said, Reached) and said.name == "stopped"

    async def _await_stage(self, stage: Stage) -> None:
        """Wait until the guest says that it reached the stage, gives up, or ends."""
        heard = asyncio.ensure_future(self._hear(stage.name))
        end = asyncio.ensure_future(self._end_of_child())
        await asyncio.wait({heard, end}, timeout=stage.deadline, return_when=asyncio.FIRST_COMPLETED)
        for task in (heard, end):
            task.cancel()
        if heard.done() and not heard.cancelled():
            heard.result()
        elif end.done() and not end.cancelled():
            raise self._start_error(f"{self.paths.name} did not start: {end.result()}")
        else:
            raise self._start_error(
                f"{self.paths.name} did not start: nothing within {stage.deadline:.0f} s of {stage.label.lower()!r}",
            )

    async def _hear(self, name: str) -> None:
        while True:
            said = await self._console.get()
            if isinstance(said, GaveUp):
                raise self._start_error(f"{self.paths.name} did not start: {said.reason}")
            if said.name == name:
                return

    def _start_error(self, message: str) -> MachineError:
        return MachineError(
            message,
            details="the end of its console:\n" + "\n".join(self._tail) if self._tail else None,
            hint=f"cove logs {self.paths.name} --source console shows all of it. The data disk was not touched.",
            log=self.paths.console_log,
        )

    async def _end_of_child(self) -> str:
        """Wait until the VMM, gvproxy or a share daemon ends; returns why, for people."""
        assert self._vm is not None  # noqa: S101  (it is started before anyone waits)
        vm = asyncio.ensure_future(self._vm.wait())
        others = {asyncio.ensure_future(self._network.wait()): "gvproxy"}
        others |= {asyncio.ensure_future(share.wait()): f"the share {share.tag}" for share in self._shares}
        try:
            await asyncio.wait({vm, *others}, return_when=asyncio.FIRST_COMPLETED)
            if vm.done():
                return vm.result().reason
            return next(f"{name} ended: {task.result()}" for task, name in others.items() if task.done())
        finally:
            for task in (vm, *others):
                task.cancel()

    async def _watch(self) -> None:
        """Wait for the end of a running machine.

        Raises:
            MachineError: a child died. A guest that powered itself off is no error.
        """
        reason = await self._end_of_child()
        assert self._vm is not None  # noqa: S101
        # what serves a guest ends when the guest lets go of it: that may be seen before the end of the VMM
        exit_ = await _ended_within(_LAST_STEP if self._guest_stopped else _AT_ONCE, self._vm)
        if exit_ is not None and exit_.clean:
            self._enter(State.STOPPING, "the guest powered itself off")
            return
        raise MachineError(
            f"{self.paths.name} died: {reason}",
            details="\n".join(self._tail) or None,
            hint=f"cove start {self.paths.name} starts it again; what was synced is there.",
            log=self.paths.console_log,
        )

    async def _stop(self) -> None:
        if self._record.state is not State.STOPPING:
            self._enter(State.STOPPING, "")
        end = time.monotonic() + self._stop_deadline
        reason = self._record.reason or "asked for"
        if self._vm is not None:
            await self._ask_guest_to_power_off(self._vm)
            try:
                await asyncio.wait_for(self._vm.wait(), max(0.0, end - time.monotonic()))
            except TimeoutError:
                reason = f"did not stop within {self._stop_deadline:.0f} s and was ended"
                log.warning("the guest %s", reason)
        await self._clear()
        self._enter(State.STOPPED, reason)
        if not self.journal.times or self._record.stages == ():
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
        if self._vm is not None:
            await self._vm.kill()
        await self._network.stop()
        for share in self._shares:
            await share.stop()
        if self._memory is not None:
            self._memory.remove()
        for path in self.paths.sockets:
            if path != self.paths.supervisor_socket:
                path.unlink(missing_ok=True)

    def _remember_processes(self) -> None:
        processes = {"supervisor": Identity.of(os.getpid()) or Identity(os.getpid(), "")}
        if self._network.identity is not None:
            processes["gvproxy"] = self._network.identity
        for share in self._shares:
            if share.identity is not None:
                processes[f"share-{share.tag}"] = share.identity
        if self._vm is not None:
            processes["vmm"] = self._vm.identity
        self._record = replace(self._record, processes=processes, host_cpu=self.plan.host_cpu)
        write_state(self.paths, self._record)

    def _enter(self, state: State, reason: str) -> None:
        if state is not State.STARTING:
            check_transition(self.paths.name, self._record.state, state)
        processes = {} if state in (State.STOPPED, State.FAILED) else self._record.processes
        ports = () if state in (State.STOPPED, State.FAILED) else self._record.ports
        stages = tuple(self.journal.times) if state is State.RUNNING else self._record.stages
        self._record = StateRecord(
            state=state, reason=reason, processes=processes, stages=stages, host_cpu=self._record.host_cpu,
            ports=ports,
        )  # fmt: skip
        if state is State.STARTING:
            self._remember_processes()
        else:
            write_state(self.paths, self._record)
        log.info("%s%s", state, f": {reason}" if reason else "")


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


async def _ended_within(seconds: float, vm: Vm) -> Exit | None:
    try:
        return await asyncio.wait_for(vm.wait(), seconds)
    except TimeoutError:
        return None
