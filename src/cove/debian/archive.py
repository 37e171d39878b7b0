# SPDX-License-Identifier: Apache-2.0
"""The signed archive: from package names to verified .deb files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cove.debian.lock import Lock
from cove.debian.mirrors import Mirror
from cove.events import Report, silent


class Archive:
    """Debian trixie with its updates and security suites, verified by signature, cached by digest."""

    def __init__(
        self,
        *,
        cache: Path,
        mirrors: Sequence[Mirror] | None = None,
        architecture: str = "amd64",
        offline: bool = False,
        report: Report = silent,
        env: Mapping[str, str] | None = None,
    ) -> None:
        raise NotImplementedError

    def resolve(
        self,
        wanted: Sequence[str],
        *,
        exclude: Collection[str] = (),
        essential: bool = False,
        priorities: Collection[str] = (),
    ) -> Lock:
        """Find the packages that ``wanted`` needs, as a lock."""
        raise NotImplementedError

    def fetch(self, lock: Lock) -> dict[str, Path]:
        """Download what is missing; package name -> verified .deb."""
        raise NotImplementedError

    @property
    def mirror(self) -> Mirror:
        """The mirror in use."""
        raise NotImplementedError
