# SPDX-License-Identifier: Apache-2.0
"""All machines of an installation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Unpack

from cove.sdk.creation import DEFAULT, Wishes, create_machine
from cove.sdk.installation import Installation
from cove.sdk.machine import Machine


class MachineCollection:
    """All machines below one ``COVE_HOME``."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def list(self) -> list[Machine]:
        """Every machine, by name."""
        return [Machine(self._installation, name) for name in self._installation.store.names()]

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.list())

    def get(self, name: str) -> Machine:
        """The machine ``name``.

        Raises:
            NotFoundError: there is none.
        """
        self._installation.store.find(name)
        return Machine(self._installation, name)

    def create(self, name: str = DEFAULT, **wishes: Unpack[Wishes]) -> Machine:
        """Create a machine; see :class:`Wishes` for what can be asked of it.

        Raises:
            ConflictError: there is a machine of this name.
            UsageError, UnsupportedError: it cannot be made like this on this host.
        """
        create_machine(self._installation, name, **wishes)
        return Machine(self._installation, name)
