# SPDX-License-Identifier: Apache-2.0
"""Where ``cove build`` takes images from: layouts that were named, Cove's own, the content store, registries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cove.errors import CoveError, NotFoundError
from cove.events import Report
from cove.image.oci.layout import Layout
from cove.image.oci.model import ImageSource, Platform, Root
from cove.image.oci.reference import Reference
from cove.image.oci.store import ContentStore
from cove.machine.builtin_archives import BuiltinImages
from cove.spec.machine import Architecture
from cove.system.paths import Home

if TYPE_CHECKING:
    from cove.debian.archive import Archive


def image_sources(
    home: Home,
    report: Report,
    layouts: Sequence[Path],
    archive: Callable[[Architecture], Archive],
    *,
    pull: bool = False,
    offline: bool = False,
) -> list[ImageSource]:
    """The places, in the order in which they are asked.

    Args:
        home: where the content store and the settings lie.
        report: told of pulls.
        layouts: OCI layouts, folders or tars.
        archive: gives Debian's archive for an architecture: what built-in images are made of.
        pull: ask registries even for what is in the store.
        offline: whether fetching is forbidden.

    Raises:
        NotFoundError, ArchiveError: a layout is not there, or is none.
    """
    sources: list[ImageSource] = [*map(Layout, layouts), BuiltinImages(home, archive, report)]
    if not pull:
        sources.append(ContentStore(home.content))
    if not offline:
        sources.append(_Registries(home, report))
    return sources


class _Registries:
    """Registries; what speaks to them is loaded only when one is asked."""

    def __init__(self, home: Home, report: Report) -> None:
        self._home, self._report = home, report

    def find(self, reference: Reference, platforms: Sequence[Platform]) -> Root:
        """Pull the image into the store."""
        from cove.machine.registries import puller

        try:
            return puller(self._home, self._report).pull(reference, platforms)
        except CoveError as error:
            if isinstance(error, NotFoundError) or str(reference) in error.message:
                raise
            error.details = f"it was wanted for the image {reference}\n{error.details or ''}".rstrip()
            raise
