# SPDX-License-Identifier: Apache-2.0
"""How much room a disk has left, in words, for the errors of those who found none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from cove.units import format_size

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the kernel says when a disk, or our share of it, is full."""


def room_of(path: Path) -> str | None:
    """Which disk a path lies on and what is left of it, whether the path exists or not; None if nobody tells."""
    try:
        while not path.exists():
            path = path.parent
        path = path.absolute()  # a link to another disk is as good a name of it as any
        space = os.statvfs(path)
        point = _mount_point(path)
    except OSError:
        return None
    left, whole = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    files = ", and no room for more files" if space.f_files and not space.f_favail else ""
    return f"{format_size(left)} of {format_size(whole)} are left on the disk at {point}{files}"


def _mount_point(path: Path) -> Path:
    device = path.stat().st_dev
    while path != path.parent and path.parent.stat().st_dev == device:
        path = path.parent
    return path
