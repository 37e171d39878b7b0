# SPDX-License-Identifier: Apache-2.0
"""What an OCI image is, and what a place must do that images can be taken from. Pure.

Formats: image-index.md, manifest.md, config.md and descriptor.md of opencontainers/image-spec 1.1, and their
elder brothers of Docker (image manifest version 2, schema 2), which differ in media types alone.

A place (an OCI layout, the content store, a registry) is an :class:`ImageSource`: it finds a :class:`Root`. What
is behind the root (the manifest for a platform, configuration, layers) is read by ``cove.image.oci.reader``, the
same way for all places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from cove.errors import UsageError
from cove.image.oci.reference import Reference

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What an image runs on.

    Args:
        architecture: Go's name of it: "amd64", "arm64".
        os: "linux".
        variant: "v8"; "" means any.
    """

    architecture: str
    os: str = "linux"
    variant: str = ""

    def matches(self, wanted: Platform) -> bool:
        """Whether an image for this platform serves who wants ``wanted``; as LinuxKit, a variant is no hurdle."""
        return (self.os, self.architecture) == (wanted.os, wanted.architecture)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def docker_architecture(machine: str) -> str:
    """Go's name of a processor that ``uname -m`` names: "amd64", "arm64"."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def parse_platform(text: str) -> Platform:
    """``linux/amd64``, ``linux/arm64/v8``, or an architecture alone.

    Raises:
        UsageError: it is no platform.
    """
    parts = text.split("/")
    if len(parts) == 1:
        parts.insert(0, "linux")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise UsageError(
            f"{text!r} is no platform", hint="Platforms look like linux/amd64 or linux/arm64/v8."
        )
    return Platform(os=parts[0], architecture=parts[1], variant="".join(parts[2:]))


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """Points to a blob (descriptor.md).

    Args:
        media_type: what the blob is.
        digest: "sha256:..." of its bytes as they are stored.
        size: their number.
        annotations: free text by key.
        platform: of a manifest in an index.
    """

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    @property
    def is_index(self) -> bool:
        """Whether the blob lists manifests for several platforms."""
        return self.media_type in INDEX_TYPES

    @property
    def is_manifest(self) -> bool:
        """Whether the blob describes one image."""
        return self.media_type in MANIFEST_TYPES


class Blobs(Protocol):
    """Where the bytes behind descriptors lie."""

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """A stream of the blob's bytes as they are stored (layers still compressed).

        The stream need not be checked against the digest: the reader does that.

        Raises:
            NotFoundError: the place does not hold this blob.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Root:
    """An image that was found: where it begins.

    Args:
        reference: the name it was found under.
        descriptor: its index or its manifest.
        blobs: where the rest is read from.
    """

    reference: Reference
    descriptor: Descriptor
    blobs: Blobs


class ImageSource(Protocol):
    """A place to take images from."""

    def find(self, reference: Reference, platforms: Sequence[Platform]) -> Root | None:
        """Find an image by its name.

        Args:
            reference: the full name; try each of ``reference.names``.
            platforms: those whose manifests, configurations and layers will be read; none means all of them.
                A place that fetches need fetch no others.

        Returns:
            None when the place does not know the name.

        Raises:
            CoveError: the place knows it, but it is damaged or cannot be had.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of an image.

    Args:
        descriptor: the blob as it is stored.
        open: gives a stream of the layer's tar, decompressed. Reading it to its end checks the digest
            (IntegrityError).
    """

    descriptor: Descriptor
    open: Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image for one platform.

    Args:
        reference: the name it was found under.
        root: its index, or its manifest when there is no index.
        manifest: its manifest.
        config: the whole configuration as parsed JSON (``config["config"]["Env"]``; config.md).
        layers: the lowest first.
    """

    reference: Reference
    root: Descriptor
    manifest: Descriptor
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
