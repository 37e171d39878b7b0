# SPDX-License-Identifier: Apache-2.0
"""The life of a machine as a table: states, and which may follow which. Anything else is an error.

created ──> starting ──> running ──> stopping ──> stopped
              │ ^           │            │           │
              v └───────────│────────────│───────────┤
            failed <────────┴────────────┘           │
              └───────────────> starting <───────────┘

running ──> suspending ──> suspended ──> resuming ──> running
   ^            │              │             │
   └────────────┘              v             └──> suspended, when it did not go on and can be tried again
 it went on              starting, cold
"""

from __future__ import annotations

from enum import StrEnum

from cove.errors import ConflictError


class State(StrEnum):
    """Where a machine is in its life."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    RESUMING = "resuming"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


FOLLOWERS: dict[State, frozenset[State]] = {
    State.CREATED: frozenset({State.STARTING}),
    State.STARTING: frozenset({State.RUNNING, State.STOPPING, State.FAILED}),
    State.RUNNING: frozenset({State.STOPPING, State.SUSPENDING, State.FAILED}),
    State.SUSPENDING: frozenset({State.SUSPENDED, State.RUNNING, State.STOPPING, State.FAILED}),
    State.SUSPENDED: frozenset({State.RESUMING, State.STARTING, State.STOPPED}),
    State.RESUMING: frozenset({State.RUNNING, State.SUSPENDED, State.STOPPING, State.FAILED}),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED}),
    State.STOPPED: frozenset({State.STARTING}),
    State.FAILED: frozenset({State.STARTING}),
}
"""Which states may follow each state."""

ALIVE = frozenset({State.STARTING, State.RUNNING, State.SUSPENDING, State.RESUMING, State.STOPPING})
"""States in which a supervisor must be there; without one the machine has failed."""


def check_transition(name: str, current: State, wanted: State) -> State:
    """Return ``wanted`` if it may follow ``current``.

    Raises:
        ConflictError: it may not; the message names the machine and both states.
    """
    if wanted not in FOLLOWERS[current]:
        raise ConflictError(f"the machine {name} is {current}, from where it cannot become {wanted}")
    return wanted
