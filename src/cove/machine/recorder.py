# SPDX-License-Identifier: Apache-2.0
"""Keeps state.json true: each move of the machine, its processes and its ports are written when they change."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cove.errors import StorageError
from cove.machine.state import State, check_transition
from cove.machine.store import StateRecord, read_state, write_state
from cove.system.paths import MachinePaths
from cove.system.process import Identity

log = logging.getLogger("cove.supervisor")

_BEGUN = (State.STARTING, State.RESUMING)
_MUST_BE_KNOWN = (*_BEGUN, State.SUSPENDING)
"""States of which others have to know before anything happens: who runs, and what a saved guest means."""

_OVER = (State.STOPPED, State.SUSPENDED, State.FAILED)


class Recorder:
    """The record of one machine, held by its supervisor alone.

    Args:
        paths: the machine's files.
        host_cpu: the host's processor that the VMM is bound to, if any.
    """

    def __init__(self, paths: MachinePaths, host_cpu: int | None) -> None:
        self._paths = paths
        self._host_cpu = host_cpu
        self.record = replace(read_state(paths), state=State.FAILED, processes={}, stages=(), ports=())
        """How the machine is."""

    def enter(self, state: State, reason: str, stages: Sequence[tuple[str, float]] = ()) -> None:
        """Record that the machine is in another state.

        Args:
            state: which.
            reason: why, for people.
            stages: how long each stage took, in seconds; recorded when it runs.

        Raises:
            ConflictError: that state cannot follow.
            StorageError: it cannot be written, and something is about to begin that others have to know of.
        """
        if state not in _BEGUN:
            check_transition(self._paths.name, self.record.state, state)
        self.record = StateRecord(
            state=state,
            reason=reason,
            processes={} if state in _OVER else self.record.processes,
            stages=tuple(stages) if state is State.RUNNING else self.record.stages,
            host_cpu=self.record.host_cpu,
            ports=() if state in _OVER else self.record.ports,
        )
        if state in _BEGUN:
            self.record = self._with_processes({})
        self._write(must=state in _MUST_BE_KNOWN)
        log.info("%s%s", state, f": {reason}" if reason else "")

    def sleep(self, reason: str) -> None:
        """Record that the guest is on the disk, while we stay to wake it; ports are kept open.

        Raises:
            ConflictError: that cannot follow.
        """
        ports = self.record.ports
        self.enter(State.SUSPENDED, reason)
        self.record = replace(self.record, ports=ports)
        self.processes({})

    def leave(self, reason: str) -> None:
        """Record that we do not stay any longer; the guest is on the disk."""
        self.record = replace(self.record, processes={}, ports=(), reason=reason)
        self._write()

    def processes(self, children: Mapping[str, Identity]) -> None:
        """Record what runs for the machine, beside ourselves."""
        self.record = self._with_processes(children)
        self._write()

    def say(self, reason: str) -> None:
        """Record how it is with a machine whose state stays as it is."""
        self.record = replace(self.record, reason=reason)
        self._write()

    def ports(self, ports: Sequence[Mapping[str, Any]]) -> None:
        """Record what containers have published."""
        self.record = replace(self.record, ports=tuple(ports))
        self._write()

    def _with_processes(self, children: Mapping[str, Identity]) -> StateRecord:
        own = Identity.of(os.getpid()) or Identity(os.getpid(), "")
        return replace(self.record, processes={"supervisor": own, **children}, host_cpu=self._host_cpu)

    def _write(self, *, must: bool = False) -> None:
        """Write it; a disk that takes nothing is no reason to end a machine that runs."""
        try:
            write_state(self._paths, self.record)
        except StorageError as error:
            if must:
                raise
            log.warning("%s is behind: %s", self._paths.state, error.message)
