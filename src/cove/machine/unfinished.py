# SPDX-License-Identifier: Apache-2.0
"""Carries a restoring to its end that was decided, and perhaps interrupted."""

from __future__ import annotations

from cove.machine.disks import disk_in
from cove.system.files import remove_tree, storage_errors
from cove.system.paths import MachinePaths
from cove.system.sparse import sync_file


def finish_restoring(paths: MachinePaths) -> None:
    """Move what lies in ``restored/`` to its places, if it is there. Each step can be done again.

    Args:
        paths: a machine that does not run; the caller holds its start lock.

    Raises:
        StorageError: something cannot be moved.
    """
    if not paths.restored.is_dir():
        return
    new = MachinePaths(paths.restored)
    with storage_errors("restoring a snapshot"):
        disk = disk_in(new.root)
        if disk.exists():
            disk.replace(paths.root / disk.name)
        if (paths.root / "data.qcow2").exists():
            paths.data_disk.unlink(missing_ok=True)
        if new.saved.exists():
            new.saved.rename(paths.saved)
        for source, target in (
            (new.settings, paths.settings),
            (new.spec, paths.spec),
            (new.state, paths.state),
        ):
            if source.exists():
                source.replace(target)
        sync_file(paths.root)
    remove_tree(paths.restored)
