# SPDX-License-Identifier: Apache-2.0
"""Keeps state.json true: each move of the machine, its processes and its ports are written when they change."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cove.machine.state import State, check_transition
from cove.machine.store import StateRecord, read_state, write_state
from cove.system.paths import MachinePaths
from cove.system.process import Identity

log = logging.getLogger("cove.supervisor")

_BEGUN = (State.STARTING, State.RESUMING)
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
            self.processes({})
        else:
            write_state(self._paths, self.record)
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
        write_state(self._paths, self.record)

    def processes(self, children: Mapping[str, Identity]) -> None:
        """Record what runs for the machine, beside ourselves."""
        own = Identity.of(os.getpid()) or Identity(os.getpid(), "")
        self.record = replace(self.record, processes={"supervisor": own, **children}, host_cpu=self._host_cpu)
        write_state(self._paths, self.record)

    def ports(self, ports: Sequence[Mapping[str, Any]]) -> None:
        """Record what containers have published."""
        self.record = replace(self.record, ports=tuple(ports))
        write_state(self._paths, self.record)
