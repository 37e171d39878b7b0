# SPDX-License-Identifier: Apache-2.0
"""The images of the content store, which `cove build` takes its parts from."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from cove.sdk.installation import Installation

if TYPE_CHECKING:
    from cove.image.oci.store import ContentStore, Stored

Format = Literal["oci", "docker"]
"""What an image is exported as."""


class ImageCollection:
    """All images of the content store below one ``COVE_HOME``."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def list(self) -> list[Stored]:
        """Every image, by name.

        Raises:
            ArchiveError, IntegrityError: the store is damaged.
        """
        return self._store.images()

    def pull(self, name: str, *, platforms: Sequence[str] | None = None, mirrors: Sequence[str] = ()) -> str:
        """Pull an image from its registry; returns its full name with its digest.

        Args:
            name: as docker takes it: ``redis``, ``org/app:1``, ``host:5000/app@sha256:...``.
            platforms: "linux/arm64" and so on; this host's by default, all with an empty list.
            mirrors: tried first, each ``URL`` (for Docker Hub) or ``REGISTRY=URL``.

        Raises:
            NotFoundError: the registry does not have it, or not for this platform.
            NetworkError, IntegrityError: it could not be had; what was loaded is kept for the next attempt.
            OfflineError: fetching is forbidden.
        """
        from cove.image.oci.model import parse_platform
        from cove.image.oci.reference import parse_reference
        from cove.machine.contents import host_platform
        from cove.machine.registries import puller

        reference = parse_reference(name)
        wanted = [host_platform()] if platforms is None else [parse_platform(one) for one in platforms]
        installation = self._installation
        made = puller(installation.home, installation.report, mirrors=mirrors, offline=installation.offline)
        root = made.pull(reference, wanted)
        named = str(root.reference).partition("@")[0]
        return f"{named}@{root.descriptor.digest}"

    def import_(self, source: Path | BinaryIO, *, names: Sequence[str] = ()) -> builtins.list[str]:
        """Take images from an OCI layout (folder, tar) or an archive of ``docker save``; returns their names.

        Args:
            source: the folder or file, or a stream.
            names: names for its only image; without them those that it brings.

        Raises:
            UsageError: there is nothing with a name in it.
            NotFoundError, ArchiveError, IntegrityError: it is not there, is something else, or is damaged.
        """
        from cove.machine.contents import import_images

        return [str(name) for name in import_images(self._store, source, names)]

    def export(
        self, name: str, out: BinaryIO, *, format_: Format = "oci", platforms: Sequence[str] = ()
    ) -> None:
        """Write an image as a tar: an OCI layout that ``docker load`` takes too when it is for one platform.

        Args:
            name: which.
            out: where to.
            format_: "oci", or "docker", which refuses several platforms.
            platforms: all that are here by default.

        Raises:
            NotFoundError: it is not here, or not for these platforms.
            UsageError: "docker" was asked for, and it is here for several.
        """
        from cove.image.oci.export import export_tar
        from cove.image.oci.model import parse_platform
        from cove.image.oci.reference import parse_reference

        wanted = [parse_platform(one) for one in platforms]
        export_tar(self._store, parse_reference(name), wanted, out, docker=format_ == "docker")

    def remove(self, names: Sequence[str]) -> int:
        """Remove images, and the blobs that no other shares; returns the bytes freed.

        Raises:
            NotFoundError: one of them is not here; nothing is removed.
        """
        from cove.image.oci.reference import parse_reference

        return self._store.remove([parse_reference(name) for name in names])

    @property
    def _store(self) -> ContentStore:
        from cove.machine.contents import content_store

        return content_store(self._installation.home)
