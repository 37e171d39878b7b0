# SPDX-License-Identifier: Apache-2.0
"""Read an image from wherever it lies: the manifest for a platform, its configuration and its layers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from cove.errors import ArchiveError, NotFoundError
from cove.image.oci.model import Blobs, Descriptor, Image, ImageSource, Layer, Platform, Root
from cove.image.oci.reference import Reference, parse_reference
from cove.image.oci.streams import layer_stream, read_blob


def find_image(sources: Sequence[ImageSource], name: str, platform: Platform) -> Image:
    """Find an image by name and read it.

    Args:
        sources: where to look, in this order.
        name: its name, short or full.
        platform: for which.

    Raises:
        UsageError: ``name`` is no name of an image.
        NotFoundError: no source knows it, or it is not for this platform.
        IntegrityError, ArchiveError: it is damaged.
    """
    return open_image(find_root(sources, name, [platform]), platform)


def find_root(sources: Sequence[ImageSource], name: str, platforms: Sequence[Platform]) -> Root:
    """Find where an image begins; arguments and errors as in :func:`find_image`, no platforms meaning all."""
    reference = parse_reference(name)
    for source in sources:
        root = source.find(reference, platforms)
        if root is not None:
            return root
    raise _not_found(reference)


def open_image(root: Root, platform: Platform) -> Image:
    """Read the image that ``root`` begins, for one platform.

    Raises:
        NotFoundError: it is not for this platform, or a blob is missing.
        IntegrityError, ArchiveError: it is damaged.
    """
    manifest = choose_manifest(root, platform)
    data = _json(root.blobs, manifest)
    config = _json(root.blobs, descriptor_of(_part(data, "config", manifest)))
    layers = [descriptor_of(item) for item in _part(data, "layers", manifest)]
    return Image(
        reference=root.reference,
        root=root.descriptor,
        manifest=manifest,
        config=config,
        layers=tuple(Layer(descriptor=one, open=partial(layer_stream, root.blobs, one)) for one in layers),
    )


def manifests_of(root: Root) -> list[Descriptor]:
    """The manifests behind ``root``: those of its index, or itself."""
    if not root.descriptor.is_index:
        return [root.descriptor]
    index = _json(root.blobs, root.descriptor)
    return [descriptor_of(item) for item in _part(index, "manifests", root.descriptor)]


def descriptor_of(item: Any) -> Descriptor:
    """A descriptor from its JSON.

    Raises:
        ArchiveError: it is none.
    """
    try:
        platform = item.get("platform")
        return Descriptor(
            media_type=str(item.get("mediaType", "")),
            digest=str(item["digest"]),
            size=int(item["size"]),
            annotations={str(key): str(value) for key, value in (item.get("annotations") or {}).items()},
            platform=Platform(
                architecture=str(platform.get("architecture", "")),
                os=str(platform.get("os", "")),
                variant=str(platform.get("variant", "")),
            )
            if platform
            else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArchiveError("an image holds a descriptor that is none", details=repr(item)[:500]) from error


def choose_manifest(root: Root, platform: Platform) -> Descriptor:
    """The manifest of an image for one platform.

    Raises:
        NotFoundError: it is not for this platform; those it is for are named.
        ArchiveError, IntegrityError: it is no image, or damaged.
    """
    if root.descriptor.is_manifest:
        return root.descriptor
    if not root.descriptor.is_index:
        raise ArchiveError(
            f"{root.reference} is no image", details=f"its media type is {root.descriptor.media_type!r}"
        )
    offered = [one for one in manifests_of(root) if one.is_manifest]
    for one in offered:
        if one.platform is not None and one.platform.matches(platform):
            return one
    unmarked = [one for one in offered if one.platform is None]
    if len(offered) == len(unmarked) == 1:  # an index around a single image that names no platform
        return unmarked[0]
    known = sorted({str(one.platform) for one in offered if one.platform and one.platform.os != "unknown"})
    raise NotFoundError(
        f"{root.reference} is not for {platform}", details=f"it is for {', '.join(known) or 'no platform'}"
    )


def _part(data: Any, key: str, where: Descriptor) -> Any:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, list if key != "config" else dict):
        raise ArchiveError(f"{where.digest} has no {key}")
    return value


def _json(blobs: Blobs, descriptor: Descriptor) -> Any:
    data = read_blob(blobs, descriptor)
    try:
        return json.loads(data)
    except ValueError as error:
        raise ArchiveError(f"{descriptor.digest} is not JSON", details=str(error)) from error


def _not_found(reference: Reference) -> NotFoundError:
    return NotFoundError(
        f"no image {reference} was found",
        hint="Name a layout that holds it with --images, put it into the cache with `cove cache import`, or pull it.",
    )
