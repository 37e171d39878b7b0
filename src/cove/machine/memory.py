# SPDX-License-Identifier: Apache-2.0
"""The folder for the file that is a guest's memory: in memory where there is room, for us alone, gone afterwards."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from cove.system.files import remove_tree, storage_errors


class MemoryFolder:
    """A private folder below ``place``; what a killed run of the same machine left there is removed first.

    Args:
        place: a folder that others may use too, such as /dev/shm.
        machine: the machine's folder, which names it.

    Raises:
        StorageError: it cannot be made.
    """

    def __init__(self, place: Path, machine: Path) -> None:
        # the name says whose it is; mkdtemp adds what nobody can guess and take before us
        prefix = f"cove-{hashlib.sha256(bytes(machine)).hexdigest()[:12]}-"
        with storage_errors("making a folder for the guest's memory"):
            for stale in place.glob(f"{prefix}*"):
                remove_tree(stale)
            place.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=place))

    def remove(self) -> None:
        """Remove the folder; the guest has ended."""
        remove_tree(self.path)
