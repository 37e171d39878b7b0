# SPDX-License-Identifier: Apache-2.0
"""The snapshots of one machine."""

from __future__ import annotations

from typing import Any

from cove.sdk.installation import Installation


class SnapshotCollection:
    """Named points of a machine that it can be brought back to.

    Args:
        installation: whose machine it is.
        machine: its name.
    """

    def __init__(self, installation: Installation, machine: str) -> None:
        self._installation = installation
        self._machine = machine

    def save(self, name: str) -> dict[str, Any]:
        """Save what the machine is now: its disk, and what it has in memory where its driver can suspend.

        Returns:
            the snapshot, as :meth:`list` gives it.

        Raises:
            NotFoundError: there is no such machine.
            ConflictError: there is such a snapshot, or nothing to save yet.
            CoveError: it could not be written; the machine is as it was.
        """
        from cove.machine.snapshots import save_snapshot

        store = self._installation.store
        return save_snapshot(store, self._machine, name, self._installation.workshop()).to_dict()

    def list(self) -> list[dict[str, Any]]:
        """All, the oldest first, as JSON data: name, created, parent, memory (whether it has it), size in bytes.

        Raises:
            NotFoundError: there is no such machine.
        """
        from cove.machine.snapshots import snapshots

        return [each.to_dict() for each in snapshots(self._installation.store.find(self._machine))]

    def restore(self, name: str) -> None:
        """Make the machine what it was; what it is now is given up. One that runs goes on from there.

        Raises:
            NotFoundError: there is no such machine or snapshot.
            CoveError: there is no room, and the machine is as it was; or it is restored and did not start.
        """
        from cove.machine.restoring import restore_snapshot

        restore_snapshot(self._installation.store, self._machine, name, self._installation.workshop())

    def delete(self, name: str) -> None:
        """Remove one; others and the machine are not touched.

        Raises:
            NotFoundError: there is no such machine or snapshot.
        """
        from cove.machine.snapshots import delete_snapshot

        delete_snapshot(self._installation.store, self._machine, name)
