# SPDX-License-Identifier: Apache-2.0
"""What all handles share: the files below one ``COVE_HOME``, where to report, and whether to fetch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cove.events import Report, silent
from cove.machine.store import Store
from cove.system.paths import Home

if TYPE_CHECKING:
    from cove.machine.assets import Workshop


class Installation:
    """The machines, programs and images below one ``COVE_HOME``.

    Args:
        home: ``COVE_HOME``; by default what the environment says.
        report: told of progress.
        offline: whether fetching is forbidden.
        alone: this process is a command and does nothing else: what outlives it may be forked from it.
    """

    def __init__(
        self,
        home: Path | None = None,
        *,
        report: Report = silent,
        offline: bool = False,
        alone: bool = False,
    ) -> None:
        env = dict(os.environ) if home is None else {**os.environ, "COVE_HOME": str(home)}
        self.home = Home.from_environment(env)
        self.report = report
        self.offline = offline
        self.alone = alone

    @property
    def store(self) -> Store:
        """The machines' folders."""
        return Store(self.home)

    def workshop(self) -> Workshop:
        """Where programs and images come from."""
        from cove.machine.assets import Workshop

        return Workshop(self.home, self.report, self.offline)
