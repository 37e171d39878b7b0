# SPDX-License-Identifier: Apache-2.0
"""What long work tells its watcher. Data only: one place (``cove.cli.output``) prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True)
class StageBegun:
    """A named stage began. ``label`` is for people."""

    name: str
    label: str


@dataclass(frozen=True)
class StageEnded:
    """The stage ended after ``seconds``; ``ok`` is false when it failed."""

    name: str
    seconds: float
    ok: bool = True


@dataclass(frozen=True)
class Transfer:
    """Progress of one transfer: ``done`` of ``total`` bytes (``total`` is None when unknown).

    The first event of a ``key`` opens its bar, one with ``finished`` closes it.
    """

    key: str
    label: str
    done: int
    total: int | None
    finished: bool = False


@dataclass(frozen=True)
class Note:
    """A sentence for the user, worth reading but not a failure."""

    text: str


Event = StageBegun | StageEnded | Transfer | Note
Report = Callable[[Event], None]


def silent(_event: Event) -> None:
    """A watcher that ignores everything."""


@contextmanager
def stage(report: Report, name: str, label: str) -> Iterator[None]:
    """Report a stage around a block of work, with its time, also when the block raises."""
    report(StageBegun(name, label))
    begun = monotonic()
    try:
        yield
    except BaseException:
        report(StageEnded(name, monotonic() - begun, ok=False))
        raise
    report(StageEnded(name, monotonic() - begun))
