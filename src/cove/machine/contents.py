# SPDX-License-Identifier: Apache-2.0
"""The content store of an installation, and what is put into it from files."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from cove.errors import UsageError
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform, docker_architecture
from cove.image.oci.reference import Reference, parse_reference
from cove.image.oci.store import ContentStore
from cove.image.oci.transfer import import_docker_archive, import_layout, is_layout, unpacked
from cove.system.paths import Home


def content_store(home: Home) -> ContentStore:
    """The content store; nothing is made before something is added."""
    return ContentStore(home.content)


def import_images(store: ContentStore, source: Path | BinaryIO, names: Sequence[str]) -> list[Reference]:
    """Take images into the store from an OCI layout or an archive of ``docker save``.

    Args:
        store: where to.
        source: a folder, a tar (compressed or not), or a stream of one.
        names: names for its only image; without them those that it brings.

    Raises:
        NotFoundError: there is nothing of that name.
        UsageError, ArchiveError, IntegrityError, StorageError: see :func:`cove.image.oci.transfer.import_layout`.
    """
    references = [_tagged(name) for name in names]
    with ExitStack() as stack:
        path = stack.enter_context(unpacked(source, store.root))
        if is_layout(path):
            return import_layout(store, Layout(path), references)
        return import_docker_archive(store, path, references)


def host_platform() -> Platform:
    """The platform of images for guests of this host."""
    return Platform(architecture=docker_architecture(platform.machine()))


def _tagged(name: str) -> Reference:
    reference = parse_reference(name)
    if reference.digest:
        raise UsageError(f"{name!r} names a digest, which only contents can have")
    return reference if reference.tag else parse_reference(f"{reference}:latest")
