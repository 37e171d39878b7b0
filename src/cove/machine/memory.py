# SPDX-License-Identifier: Apache-2.0
"""The folder for the file that is a guest's memory: in memory where there is room, for us alone, gone afterwards."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from cove.system.files import make_sparse, remove_tree, storage_errors
from cove.system.paths import MachinePaths


class MemoryFolder:
    """A private folder below ``place``; what a killed run of the same machine left there is removed first.

    Args:
        place: a folder that others may use too, such as /dev/shm.
        machine: the machine's folder, which names it.

    Raises:
        StorageError: it cannot be made.
    """

    def __init__(self, place: Path, machine: Path) -> None:
        sweep_memory(place, machine)
        with storage_errors("making a folder for the guest's memory"):
            place.mkdir(parents=True, exist_ok=True)
            # the name says whose it is; mkdtemp adds what nobody can guess and take before us
            self.path = Path(tempfile.mkdtemp(prefix=_prefix(machine), dir=place))
        self._handle: int | None = None

    def make_file(self, size: int) -> Path:
        """An empty sparse file of ``size`` bytes, to be the guest's memory.

        Raises:
            StorageError: there is no room for it.
        """
        path = self.path / "memory"
        make_sparse(path, size)
        return path

    def hide_file(self) -> Path:
        """Take the file's name away, now that the VMM has opened it: it goes with the last process that has it.

        Returns:
            how this process can open it still.
        """
        path = self.path / "memory"
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        path.unlink()
        return Path(f"/proc/self/fd/{self._handle}")

    def remove(self) -> None:
        """Remove the folder; the guest has ended."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        remove_tree(self.path)


def trial_folder(paths: MachinePaths) -> Path:
    """Where the sockets of the VMM lie that tries a saved guest; also names its memory."""
    return paths.vm_dir / "t"


def sweep_memory(place: Path, machine: Path) -> None:
    """Remove what a killed run left; nobody runs the machine."""
    with storage_errors("removing a former guest's memory"):
        for stale in place.glob(f"{_prefix(machine)}*"):
            remove_tree(stale)


def _prefix(machine: Path) -> str:
    return f"cove-{hashlib.sha256(bytes(machine)).hexdigest()[:12]}-"
