# SPDX-License-Identifier: Apache-2.0
"""A machine as one can look at it; nothing here changes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.errors import MachineError
from cove.machine import store as stores
from cove.sdk.installation import Installation

if TYPE_CHECKING:
    from cove.guest.client import GuestClient

Record = stores.Machine
"""All that is recorded of a machine: its spec, its state, its processes."""


class Handle:
    """A handle on one machine. Each property looks anew; nothing is remembered.

    Args:
        installation: whose machine it is.
        name: its name.
    """

    def __init__(self, installation: Installation, name: str) -> None:
        self.installation = installation
        self.name = name

    def __repr__(self) -> str:
        return f"<cove.Machine {self.name}>"

    @property
    def exists(self) -> bool:
        """Whether there is such a machine."""
        return self.installation.store.exists(self.name)

    @property
    def record(self) -> Record:
        """All that is recorded of it, with the truth about its processes.

        Raises:
            NotFoundError: there is none.
        """
        return self.installation.store.load(self.name)

    @property
    def status(self) -> str:
        """``created``, ``starting``, ``running``, ``suspending``, ``suspended``, ``resuming``, ``stopping``...

        And ``stopped`` or ``failed``; see :class:`cove.machine.state.State`.
        """
        return str(self.record.record.state)

    @property
    def docker_socket(self) -> Path:
        """The engine's socket on the host; nobody answers there unless the machine runs."""
        return self.installation.home.machine(self.name).docker_socket

    @property
    def docker_host(self) -> str:
        """What to set ``DOCKER_HOST`` to."""
        return f"unix://{self.docker_socket}"

    def guest(self) -> GuestClient:
        """The agent inside the guest.

        Raises:
            MachineError: the machine does not run.
        """
        from cove.guest.client import GuestClient

        machine = self.record
        if not machine.running:
            raise MachineError(f"{self.name} is {machine.record.state}", hint=f"cove start {self.name}")
        return GuestClient(machine.paths.agent_socket)

    def inspect(self) -> dict[str, Any]:
        """Everything there is to know about it, as JSON data."""
        from cove.machine.describe import describe

        return describe(self.record)

    def versions(self) -> dict[str, Any]:
        """Client and server side by side, as JSON data; the server is None when the machine does not run."""
        from cove.machine.versions import versions

        return versions(self.record if self.exists else None, self.installation.home)

    def explain(self) -> list[dict[str, Any]]:
        """Where the kernel comes from: each layer from the host's kernel to a container, read from what runs.

        Raises:
            MachineError: the machine does not run.
        """
        from cove.machine.explain import explain

        return explain(self.record, self.installation.workshop())

    def logs(self, source: str, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """A log, piece by piece.

        Args:
            source: one of :data:`cove.machine.logs.SOURCES`.
            tail: only that many last lines.
            follow: go on with what comes.
        """
        from cove.machine.logs import read_log

        return read_log(self.record, source, tail=tail, follow=follow)

    def environment(self) -> Mapping[str, str]:
        """What a Docker client needs in its environment to use this machine."""
        from cove.host.shell_env import client_environment

        return client_environment(self.docker_socket)

    def shell_lines(self, *, shell: str | None, unset: bool, command: str) -> str:
        """Lines for a shell that set :meth:`environment`, for ``eval``."""
        from cove.host.shell_env import render, shell_of

        return render(self.environment(), shell=shell_of(shell), command=command, unset=unset)
