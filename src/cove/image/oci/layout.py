# SPDX-License-Identifier: Apache-2.0
"""OCI image layouts on the disk, as a folder or as a tar, as a place to take images from.

Format: image-layout.md of opencontainers/image-spec 1.1. Images have the name in the annotation
``io.containerd.image.name`` (containerd, ctr, buildx), or in ``org.opencontainers.image.ref.name`` when that is
a full one (LinuxKit's cache); a mere tag there names nothing.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from cove.errors import ArchiveError, NotFoundError, UsageError
from cove.image.oci.model import Descriptor, Platform, Root
from cove.image.oci.reader import descriptor_of
from cove.image.oci.reference import Reference, parse_reference
from cove.system.files import Section

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"

_INDEX = "index.json"


class Layout:
    """An OCI layout: an image source, and the blobs of its images.

    Args:
        path: a folder with ``index.json``, or a tar of one (not compressed).

    Attributes:
        manifests: what its index lists, with and without a name.

    Raises:
        NotFoundError: there is nothing at ``path``.
        ArchiveError: it is no OCI layout.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: Mapping[str, tuple[int, int]] | None = None
        if path.is_file():
            self._members = _members(path)
        elif not path.is_dir():
            raise NotFoundError(f"{path} does not exist", hint="--images takes OCI layouts: folders or tars.")
        self.manifests = self._read_index()

    def find(self, reference: Reference, platforms: Sequence[Platform]) -> Root | None:  # noqa: ARG002
        """The image of that name; by its digest where the name has one."""
        wanted = set(reference.names)
        for descriptor in self.manifests:
            pinned = reference.digest and descriptor.digest == reference.digest
            if pinned or wanted & set(_names(descriptor)):
                return Root(reference=reference, descriptor=descriptor, blobs=self)
        return None

    def images(self) -> Iterator[tuple[Reference, Descriptor]]:
        """All images that have a name."""
        for descriptor in self.manifests:
            for name in _names(descriptor):
                yield parse_reference(name), descriptor

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """A stream of a blob's bytes.

        Raises:
            NotFoundError: the layout does not hold it.
        """
        return self._open("blobs/" + descriptor.digest.replace(":", "/", 1))

    def _read_index(self) -> list[Descriptor]:
        try:
            with self._open(_INDEX) as stream:
                index: Any = json.loads(stream.read())
            return [descriptor_of(item) for item in index["manifests"]]
        except (NotFoundError, ValueError, KeyError, TypeError) as error:
            raise ArchiveError(
                f"{self.path} is no OCI layout",
                details=getattr(error, "message", str(error)),
                hint="Make one with `docker buildx build --output type=oci`, `skopeo copy` or `cove cache export`.",
            ) from error

    def _open(self, name: str) -> BinaryIO:
        if self._members is None:
            try:
                return (self.path / name).open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
                raise NotFoundError(f"{self.path} has no {name}") from error
        member = self._members.get(name)
        if member is None:
            raise NotFoundError(f"{self.path} has no {name}")
        return io.BufferedReader(Section(self.path, *member))


def _names(descriptor: Descriptor) -> list[str]:
    name = descriptor.annotations.get(IMAGE_NAME)
    if name is None:
        name = descriptor.annotations.get(REF_NAME, "")
        if not {"/", ":", "@"} & set(name):
            return []
    try:
        return [str(parse_reference(name))]
    except UsageError:
        return []


def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Where each file of a tar lies: offset and size."""
    try:
        with tarfile.open(path, "r:") as tar:
            return {
                member.name.removeprefix("./"): (member.offset_data, member.size)
                for member in tar
                if member.isreg()
            }
    except tarfile.TarError as error:
        raise ArchiveError(f"{path} is neither a folder nor a tar", details=str(error)) from error
