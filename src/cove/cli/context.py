# SPDX-License-Identifier: Apache-2.0
"""What every command of one invocation shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cove.cli.output import Reporter
from cove.errors import UsageError

if TYPE_CHECKING:
    from cove.sdk import Client, Machine

DEFAULT = "default"


@dataclass
class Session:
    """The global options, and the client made of them.

    Args:
        machine: ``--machine``.
        offline: ``--offline``.
        quiet: ``--quiet``.
    """

    machine: str | None = None
    offline: bool = False
    quiet: bool = False
    _reporter: Reporter | None = field(default=None, init=False)

    def client(self) -> Client:
        """The SDK's client, reporting to the terminal."""
        from cove.sdk import Client

        return Client(report=self.reporter, offline=self.offline, alone=True)

    @property
    def reporter(self) -> Reporter:
        """Shows progress on the terminal."""
        if self._reporter is None:
            self._reporter = Reporter(quiet=self.quiet)
        return self._reporter

    def pick(self, name: str | None) -> Machine:
        """The machine that is meant by a command's argument and ``--machine``.

        Raises:
            UsageError: they name two different ones.
        """
        if name and self.machine and name != self.machine:
            raise UsageError(f"both {self.machine} and {name} were named", hint="Name one machine.")
        return self.client().machine(name or self.machine or DEFAULT)

    def close(self) -> None:
        """Stop drawing progress."""
        if self._reporter is not None:
            self._reporter.close()
