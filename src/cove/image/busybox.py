# SPDX-License-Identifier: Apache-2.0
"""The names a busybox answers to, read from the program itself without running it. Pure."""

from __future__ import annotations

import re

from cove.errors import ArchiveError

PACKAGE = "busybox-static"
"""Debian's package of it, statically linked, so that it runs in an initramfs and in an empty image."""

PATH = "usr/bin/busybox"
"""Where that package has it."""

_NAME = re.compile(r"[a-z0-9_.\[-]+", re.IGNORECASE)
_SURE = {"[", "[[", "ash", "cat", "ls", "mount", "sh", "true", "uname"}


def applets(binary: bytes) -> tuple[str, ...]:
    """The applets of a busybox, sorted.

    Busybox keeps them as one table of NUL-ended strings in byte order, which begins with "[" and "[["
    (``applet_names`` in busybox's include/applet_tables.h); the table ends where the order does.

    Raises:
        ArchiveError: the program has no such table.
    """
    place = binary.find(b"[\0[[\0")
    names: list[str] = []
    while place >= 0:
        end = binary.find(b"\0", place)
        name = binary[place:end].decode("latin-1") if end >= 0 else ""
        if not _NAME.fullmatch(name) or (names and name <= names[-1]):
            break
        names.append(name)
        place = end + 1
    if _SURE - set(names):
        raise ArchiveError(
            "this busybox has no table of applets that Cove can read",
            details=f"found {len(names)} names; missing {', '.join(sorted(_SURE - set(names)))}",
        )
    return tuple(names)
