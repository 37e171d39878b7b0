# SPDX-License-Identifier: Apache-2.0
"""Room to grow for the data disk of a User-Mode Linux, which reads the size of a disk's file once, at its start.

At that moment the file is as large as it may ever become, which takes no space; then it has its own size again. The
guest's device stays as large, and the guest is told by a word of its command line (``cove.disk=BYTES``) how much of it
there is: its file system is made and fitted to that. To grow it later, the file and the file system are enlarged.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger("cove.supervisor")

ROOM = (1 << 40) + (1 << 20)
"""Bytes of a disk with room. Nobody asks for exactly so many, so a file of this size was left by a killed start."""


class DiskRoom:
    """The room of one disk while its machine starts.

    Args:
        disk: the raw file; None for no room at all.
    """

    def __init__(self, disk: Path | None) -> None:
        self._disk = disk
        self._size: int | None = None

    def make(self) -> None:
        """Make room; where the file system takes no file of this size the disk stays as it is."""
        if self._disk is None or (size := self._disk.stat().st_size) >= ROOM:
            return
        try:
            os.truncate(self._disk, ROOM)
        except OSError as error:
            log.info("the disk cannot grow while the machine runs: %s", error.strerror)
        else:
            self._size = size

    def give_back(self) -> None:
        """Give the file its own size back; without room, and again, nothing happens."""
        size, self._size = self._size, None
        if self._disk is not None and size is not None:
            cut(self._disk, size)


def cut(disk: Path, size: int) -> None:
    """Make a file with room ``size`` bytes long, unless there is data beyond that, of a guest that was not told."""
    with disk.open("rb") as file:
        try:
            os.lseek(file.fileno(), size, os.SEEK_DATA)
        except OSError:  # ENXIO: none from there on
            os.truncate(disk, size)
        else:
            log.warning("the guest has written beyond the %d bytes of its disk", size)


def forget_room(disk: Path, size: int) -> None:
    """Make a file that a killed start left with room ``size`` bytes long; all others stay as they are."""
    if disk.stat().st_size == ROOM:
        cut(disk, size)
