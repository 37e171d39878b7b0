# SPDX-License-Identifier: Apache-2.0
"""Who keeps a guest from being suspended: files of shares that are open in it and were deleted on the host."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from cove.errors import CoveError, EngineError, MachineError
from cove.spec.shares import Share, is_below

_DELETED = re.compile(r"Inode deleted \((.+)\)$", re.MULTILINE)
"""virtiofsd 1.13, which has to name every file that the guest uses for whoever goes on with them."""

Mounts = Callable[[], Awaitable[Mapping[str, Sequence[str]]]]
"""The running containers by name, and the folders of the host that each has mounted."""


def lost_files(log: str) -> list[str]:
    """The files that share daemons could not name any more, from what they printed. Pure."""
    return list(dict.fromkeys(_DELETED.findall(log)))


def holders(mounts: Mapping[str, Sequence[str]], shares: Sequence[Share]) -> list[str]:
    """The containers that have mounted something of a share. Pure."""
    return sorted(
        name
        for name, sources in mounts.items()
        if any(
            is_below(source, share.path) or is_below(share.path, source)
            for source in sources
            for share in shares
        )
    )


class LostFiles:
    """Explains a failed suspension by files that are lost.

    Args:
        log: what the share daemons print.
        shares: of the machine.
        mounts: asks the engine who has mounted what.
    """

    def __init__(self, log: Path, shares: Sequence[Share], mounts: Mounts) -> None:
        self._log = log
        self._shares = shares
        self._mounts = mounts
        self._seen = 0

    def begin(self) -> None:
        """What was printed until now belongs to others."""
        self._seen = self._log.stat().st_size if self._log.exists() else 0

    async def explain(self, error: CoveError) -> CoveError:
        """The error with the files and the containers in it, if they are the cause; else as it was."""
        lost = lost_files(_read(self._log)[self._seen :].decode(errors="replace"))
        if not lost:
            return error
        try:
            names = holders(await self._mounts(), self._shares)
        except EngineError:
            names = []
        who = f"Containers with shared folders: {', '.join(names)}. " if names else ""
        return MachineError(
            "files of shared folders are in use, but were deleted on this host: nobody could open them again",
            details="\n".join(lost),
            hint=f"{who}Stop or restart what uses these files. The machine goes on.",
            log=self._log,
        )


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
