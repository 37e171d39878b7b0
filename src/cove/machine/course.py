# SPDX-License-Identifier: Apache-2.0
"""The course of one start: when which stage was reached, from the command's begin to a running machine.

Begun by whoever starts a machine and gone on with by its supervisor; ``boot.json`` in the machine's folder is how it
gets from one to the other, and what stays. Both read one clock, time.monotonic(), which all processes of a host share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cove.system.files import write_json

STAGES: Mapping[str, str] = {
    "command": "the command was loaded and read",
    "prepare": "programs, image, disks and settings were there",
    "supervisor": "the supervisor was loaded",
    "link": "gvproxy and share daemons ran",
    "firmware": "the guest's kernel began",
    "kernel": "the initramfs ran",
    "root": "the root was mounted",
    "disk": "the data disk was checked and mounted",
    "network": "the guest's network was there",
    "agent": "the guest agent listened",
    "containerd": "containerd listened",
    "dockerd": "dockerd listened",
    "engine": "docker's API answered",
    "resume": "the suspended guest went on",
    "ready": "published ports were open: the machine ran",
}
"""Every stage and what was so when it was reached. The names are stable. Some are reached side by side."""


class Course:
    """When one start reached its stages.

    Args:
        begun: when it began, on time.monotonic(); now by default.
        since: the same in seconds since the epoch, for people.
        reached: seconds from there to each stage, by its name.
    """

    def __init__(
        self,
        begun: float | None = None,
        *,
        since: float | None = None,
        reached: Mapping[str, float] | None = None,
    ) -> None:
        now = time.monotonic()
        self._begun = now if begun is None else begun
        self._since = time.time() - (now - self._begun) if since is None else since
        self._reached = dict(reached or {})

    def reach(self, name: str, *, ago: float = 0.0) -> None:
        """A stage is reached, or was ``ago`` seconds before. The first time counts, and only the stages we know."""
        if name in STAGES:
            self._reached.setdefault(name, round(time.monotonic() - ago - self._begun, 3))

    def save(self, path: Path) -> None:
        """Record it."""
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, object]:
        """The recorded form."""
        return {"version": 1, "begun": self._begun, "since": self._since, "reached": self._reached}

    @classmethod
    def from_dict(cls, data: Any) -> Course:
        """Read the recorded form; anything else is a course that begins now."""
        try:
            return cls(float(data["begun"]), since=float(data["since"]), reached=dict(data["reached"]))
        except (KeyError, TypeError, ValueError):
            return cls()


def timings(data: Any) -> dict[str, Any] | None:
    """What a record tells people and programs: each stage, when it was reached, and how long after the one before.

    Args:
        data: the recorded form; None when there is none.

    Returns:
        ``since`` (seconds since the epoch), ``total`` (seconds), ``complete`` (whether the machine came to run) and
        ``stages`` by time, each with ``name``, ``at`` and ``seconds``; None without a record.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("reached"), Mapping):
        return None
    order = {name: number for number, name in enumerate(STAGES)}
    reached = sorted(data["reached"].items(), key=lambda one: (one[1], order.get(one[0], len(order))))
    stages, before = [], 0.0
    for name, at in reached:
        stages.append({"name": name, "at": at, "seconds": round(at - before, 3)})
        before = at
    return {
        "since": data.get("since"),
        "total": before,
        "complete": "ready" in data["reached"],
        "stages": stages,
    }
