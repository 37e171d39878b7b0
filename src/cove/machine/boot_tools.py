# SPDX-License-Identifier: Apache-2.0
"""What bootable disks are made with, out of the toolbox: programs and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cove.errors import ToolError
from cove.system.process import Command
from cove.toolbox.toolbox import Toolbox


class BootTools:
    """Programs and files of the toolbox, had when they are needed; see :class:`cove.image.formats.disks.Tools`.

    Args:
        toolbox: gives the programs of a group.
    """

    def __init__(self, toolbox: Callable[[str], Toolbox]) -> None:
        self._toolbox = toolbox

    def command(self, group: str, name: str) -> Command:
        """A program of a group."""
        return self._toolbox(group).command(name)

    def file(self, group: str, path: str) -> Path:
        """A file of a group's packages; with ``COVE_TOOLS=system`` the host's own, where Debian has it.

        Raises:
            ToolError: the host does not have it there.
        """
        toolbox = self._toolbox(group)
        if toolbox.root is not None:
            return toolbox.path(path)
        own = Path("/", path)
        if not own.is_file():
            raise ToolError(
                f"COVE_TOOLS=system, but this host has no {own}",
                hint=f"apt install {' '.join(toolbox.group.packages)}, or unset COVE_TOOLS.",
            )
        return own
