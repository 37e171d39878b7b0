# SPDX-License-Identifier: Apache-2.0
"""A machine's folder: what it is (machine.json), how it is (state.json), and whether that is still true.

Imports little on purpose: ``cove status`` and ``cove run`` pass here on every call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cove.errors import ConflictError, MachineError, NotFoundError, UsageError
from cove.machine.state import ALIVE, State
from cove.spec.machine import MachineSpec
from cove.system.files import (
    locked,
    private_folder,
    read_json,
    remove_tree,
    rewrite_json,
    sweep_scratch,
    try_lock,
    write_json,
)
from cove.system.paths import Home, MachinePaths
from cove.system.process import Identity

_DAMAGED = (LookupError, TypeError, ValueError, AttributeError)
"""What reading JSON of another shape raises."""


@dataclass(frozen=True, kw_only=True)
class StateRecord:
    """What the supervisor last said.

    Args:
        state: where the machine is in its life.
        reason: why it is there, for people; the cause of a failure.
        since: seconds since the epoch.
        processes: the supervisor and its children, by role.
        stages: how long each stage of the last start took, in seconds, in order.
        host_cpu: the host's processor that the VMM is bound to, if any.
        ports: what containers have published, and what they could not, as JSON data.
    """

    state: State
    reason: str = ""
    since: float = field(default_factory=time.time)
    processes: Mapping[str, Identity] = field(default_factory=dict)
    stages: tuple[tuple[str, float], ...] = ()
    host_cpu: int | None = None
    ports: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The recorded form."""
        return {
            "version": 1,
            "state": str(self.state),
            "reason": self.reason,
            "since": self.since,
            "processes": {role: [one.pid, one.started] for role, one in self.processes.items()},
            "stages": [list(stage) for stage in self.stages],
            "host_cpu": self.host_cpu,
            "ports": list(self.ports),
        }


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine as it is on disk, with the truth about its processes."""

    paths: MachinePaths
    spec: MachineSpec
    created: float
    image: str
    record: StateRecord
    owner: Identity | None = None
    """The process that a throw-away machine is for, with which it goes."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def running(self) -> bool:
        """Whether its engine can be used."""
        return self.record.state is State.RUNNING

    @property
    def asleep(self) -> bool:
        """Whether it is suspended, and its supervisor waits for somebody to wake it."""
        return self.record.state is State.SUSPENDED and self.supervised

    @property
    def abandoned(self) -> bool:
        """Whether it was to be thrown away, and whoever should have done that has ended."""
        return self.owner is not None and not self.owner.alive()

    @property
    def supervised(self) -> bool:
        """Whether its supervisor lives."""
        supervisor = self.record.processes.get("supervisor")
        return supervisor is not None and supervisor.alive()

    def uptime(self) -> float | None:
        """Seconds since it has been running, or None."""
        return time.time() - self.record.since if self.running else None


class Store:
    """The machines below ``COVE_HOME``."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def names(self) -> list[str]:
        """The names of all machines, sorted."""
        try:
            return sorted(
                entry.name
                for entry in self.home.machines.iterdir()
                if not entry.name.startswith(".") and (entry / "machine.json").is_file()
            )
        except FileNotFoundError:
            return []

    def all(self) -> Iterator[Machine]:
        """All machines; one whose files cannot be read is left out by :meth:`names` or raises here."""
        for name in self.names():
            yield self.load(name)

    def exists(self, name: str) -> bool:
        """Whether there is a machine of this name."""
        return self.home.machine(name).spec.is_file()

    def find(self, name: str) -> MachinePaths:
        """The files of the machine ``name``, whether they can be read or not.

        Raises:
            NotFoundError: there is none.
        """
        paths = self.home.machine(name)
        if not paths.spec.exists():
            raise NotFoundError(f"there is no machine {name!r}", hint=f"Make it: cove create {name}")
        return paths

    def load(self, name: str) -> Machine:
        """The machine ``name`` as it is now.

        Raises:
            NotFoundError: there is none.
            MachineError: its machine.json cannot be read.
        """
        paths = self.find(name)
        data: Any = read_json(paths.spec)
        try:
            return Machine(
                paths=paths,
                spec=MachineSpec.from_dict(data["spec"]),
                created=float(data["created"]),
                image=str(data.get("image", "")),
                record=observe(paths),
                owner=Identity(*data["owner"]) if data.get("owner") else None,
            )
        except (*_DAMAGED, UsageError) as error:
            raise MachineError(
                f"{paths.spec} does not describe a machine",
                details=error.details if isinstance(error, UsageError) else None,
                hint=f"Restore it, or remove the machine: cove delete {name}",
            ) from error

    @contextmanager
    def making(self) -> Iterator[None]:
        """Be the only one who makes machines, or removes them, below this home."""
        private_folder(self.home.root)
        private_folder(self.home.machines)
        with locked(self._making_lock, waiting_for="making machines"):
            self._sweep()
            yield

    def sweep(self) -> None:
        """Remove what those left who were killed while they made something; not while others make something."""
        handle = try_lock(self._making_lock)
        if handle is not None:
            try:
                self._sweep()
            finally:
                os.close(handle)

    @property
    def _making_lock(self) -> Path:
        return self.home.machines / ".lock"

    def _sweep(self) -> None:
        sweep_scratch(self.home.machines)
        for folder in self.home.machines.glob("*/snapshots"):
            sweep_scratch(folder)
            for gone in folder.glob(".*.gone"):
                remove_tree(gone)

    def write(self, paths: MachinePaths, machine: Machine) -> None:
        """Write what a machine is into a folder, which may be a scratch one."""
        owner = {"owner": [machine.owner.pid, machine.owner.started]} if machine.owner else {}
        data = {"spec": machine.spec.to_dict(), "created": machine.created, "image": machine.image}
        write_json(paths.spec, {"version": 1, **data, **owner})

    def create(self, spec: MachineSpec) -> Machine:
        """Make the folder of a new machine; its disk is made at its first start.

        Raises:
            ConflictError: there is one already.
        """
        paths = self.home.machine(spec.name)
        with self.making():
            if paths.spec.exists():
                raise ConflictError(
                    f"there is a machine {spec.name!r} already", hint=f"cove start {spec.name}"
                )
            private_folder(paths.root)
            record = StateRecord(state=State.CREATED)
            write_state(paths, record)
            self.write(paths, Machine(paths=paths, spec=spec, created=time.time(), image="", record=record))
        return self.load(spec.name)

    def set_image(self, machine: Machine, image: str) -> None:
        """Record the guest image that the machine starts with."""
        self.write(machine.paths, replace(machine, image=image))

    def set_spec(self, machine: Machine, spec: MachineSpec) -> None:
        """Record what the machine shall be from its next start on."""
        self.write(machine.paths, replace(machine, spec=spec))

    def remove(self, paths: MachinePaths) -> None:
        """Remove everything of a machine that does not run, its data disk among it."""
        # machine.json goes first: a half-removed folder is not listed, and a new machine may take its place
        paths.spec.unlink(missing_ok=True)
        remove_tree(paths.root)


def write_state(paths: MachinePaths, record: StateRecord) -> None:
    """Record how the machine is, also on a full disk."""
    rewrite_json(paths.state, record.to_dict())


def read_state(paths: MachinePaths) -> StateRecord:
    """What was last recorded, true or not. What cannot be read is a failed start: its processes are not known."""
    data = read_json(paths.state)
    if data is None:
        if not paths.state.exists():
            return StateRecord(state=State.CREATED, since=0.0)
        data = read_json(paths.state)  # on a full disk it may just have been written over
    try:
        return _state_from(data)
    except _DAMAGED:
        return StateRecord(state=State.FAILED, reason=f"{paths.state} is damaged", since=0.0)


def _state_from(data: Any) -> StateRecord:
    return StateRecord(
        state=State(data["state"]),
        reason=data["reason"],
        since=data["since"],
        processes={role: Identity(pid, started) for role, (pid, started) in data["processes"].items()},
        stages=tuple((name, seconds) for name, seconds in data["stages"]),
        host_cpu=data.get("host_cpu"),
        ports=tuple(data.get("ports", ())),
    )


def observe(paths: MachinePaths) -> StateRecord:
    """What was last recorded, corrected by what is: a machine without its supervisor has failed."""
    record = read_state(paths)
    supervisor = record.processes.get("supervisor")
    if record.state not in ALIVE or (supervisor is not None and supervisor.alive()):
        return record
    again = read_state(paths)
    if again != record:  # it ended between our two looks, and said so
        return again
    reason = f"the supervisor died while the machine was {record.state}"
    if record.state in (State.SUSPENDING, State.RESUMING) and paths.saved_record.is_file():
        # it is there only as long as the guest has not run since
        return replace(record, state=State.SUSPENDED, reason=reason, processes={}, ports=())
    return replace(record, state=State.FAILED, reason=reason, ports=())
