# SPDX-License-Identifier: Apache-2.0
"""What a download is, and how patient we are with it. Apart from the client, which is slow to import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cove.debian.mirrors import Mirror


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often a download is tried; times in seconds.

    Args:
        connect: to reach a server.
        stall: without a single byte.
        attempts: per mirror, in a row without getting any further.
        backoff: before the second attempt; doubles each time.
    """

    connect: float = 15.0
    stall: float = 30.0
    attempts: int = 4
    backoff: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file to fetch.

    Args:
        name: for messages.
        suite: which decides between a mirror's main and security archive.
        paths: below the archive's root; the first that exists counts.
        sha256: what it must hash to.
        size: bytes it must have.
        target: where it goes once it is right.
    """

    name: str
    suite: str
    paths: tuple[str, ...]
    sha256: str
    size: int
    target: Path


@dataclass(frozen=True)
class Reply:
    """A small file as a server sent it; ``body`` is None when the server says that ours is still right."""

    body: bytes | None
    validators: dict[str, str]


class Mirrors:
    """The mirrors in the order in which they are tried; one that failed goes last, for everybody."""

    def __init__(self, mirrors: Sequence[Mirror]) -> None:
        self._order = list(mirrors)

    @property
    def order(self) -> list[Mirror]:
        """The best first."""
        return list(self._order)

    def demote(self, mirror: Mirror) -> None:
        """It cannot be reached, is out of date or altered a file."""
        if mirror in self._order:
            self._order.remove(mirror)
            self._order.append(mirror)
