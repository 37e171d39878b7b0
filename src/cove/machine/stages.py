# SPDX-License-Identifier: Apache-2.0
"""The stages of a start, each with a label for people and a deadline; and the words the guest says on its console.

The guest prints ``cove-stage NAME UPTIME`` when it has *reached* a stage and ``cove-failed REASON`` when it gives up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_REACHED = re.compile(r"cove-stage ([a-z-]+) (\d+\.\d+)")
_FAILED = re.compile(r"cove-failed (.+)")


@dataclass(frozen=True)
class Stage:
    """One stage of a start.

    Args:
        name: as the guest says it.
        label: for people.
        deadline: seconds it may take on a slow emulated processor.
    """

    name: str
    label: str
    deadline: float


GUEST_STAGES = (
    Stage("kernel", "Booting the Linux kernel", 60),
    Stage("root", "Mounting the root", 60),
    Stage("disk", "Preparing the data disk", 120),
    Stage("network", "Joining the network", 60),
    Stage("agent", "Starting the guest agent", 120),
    Stage("engine", "Starting Docker Engine", 240),
)
"""What the guest reaches, in this order (agent and engine start side by side; the agent reports both)."""


@dataclass(frozen=True)
class Reached:
    """The guest reached a stage, ``uptime`` seconds after its kernel began."""

    name: str
    uptime: float


@dataclass(frozen=True)
class GaveUp:
    """The guest cannot start, and says why."""

    reason: str


def parse_console(line: str) -> Reached | GaveUp | None:
    """What a console line says about the start, or None."""
    if match := _REACHED.search(line):
        return Reached(match[1], float(match[2]))
    if match := _FAILED.search(line):
        return GaveUp(match[1].strip())
    return None
