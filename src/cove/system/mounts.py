# SPDX-License-Identifier: Apache-2.0
"""Which file system a path lies on, from what the host says of its mounts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_ESCAPED = re.compile(r"\\([0-7]{3})")
_MAC_LINE = re.compile(r".+ on (?P<point>/.*) \((?P<words>[^()]*)\)")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One mounted file system.

    Args:
        point: where.
        kind: its type, as the host calls it: "ext4", "nfs4", "apfs".
        options: such as "noexec".
    """

    point: str
    kind: str
    options: frozenset[str]


def read_mounts(text: str) -> list[Mount]:
    """Read /proc/self/mounts (proc(5)); lines that are not of that form are left out."""
    found = []
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) >= 4:
            point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), words[1])
            found.append(Mount(point=point, kind=words[2], options=frozenset(words[3].split(","))))
    return found


def read_mac_mounts(text: str) -> list[Mount]:
    """Read what mount(8) prints on macOS: ``/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled)``."""
    found = []
    for line in text.splitlines():
        if match := _MAC_LINE.fullmatch(line):
            kind, *options = match["words"].split(", ")
            found.append(Mount(point=match["point"], kind=kind, options=frozenset(options)))
    return found


def mount_of(mounts: Iterable[Mount], path: Path) -> Mount | None:
    """The mount that an absolute path without symlinks lies on; of two on one point the later one hides the other."""
    best: Mount | None = None
    for mount in mounts:
        if path.is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best
