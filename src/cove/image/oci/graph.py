# SPDX-License-Identifier: Apache-2.0
"""What belongs to an image: the blobs that are reached from its root."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

from cove.errors import ArchiveError
from cove.image.oci.model import Descriptor, Platform, Root
from cove.image.oci.reader import descriptor_of
from cove.image.oci.streams import read_blob

_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")

Holds = Callable[[Descriptor], bool]
"""Says whether a blob can be read where the image lies."""


def blob_name(digest: str) -> str:
    """The file of a blob in an OCI layout: ``blobs/sha256/HEX``.

    Raises:
        ArchiveError: it is no digest that is known here; so what comes from outside never becomes a path.
    """
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise ArchiveError(f"{digest!r} is not a digest that is known here", hint="sha256 and sha512 are.")
    return f"blobs/{digest.replace(':', '/')}"


def children(descriptor: Descriptor, data: bytes) -> list[Descriptor]:
    """What an index or a manifest points to directly.

    Args:
        descriptor: of the index or manifest.
        data: its bytes, verified.

    Raises:
        ArchiveError: it is none.
    """
    try:
        parsed = json.loads(data)
        if descriptor.is_index:
            return [descriptor_of(item) for item in parsed["manifests"]]
        return [descriptor_of(parsed["config"]), *(descriptor_of(item) for item in parsed["layers"])]
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(
            f"{descriptor.digest} is neither an index nor a manifest", details=repr(error)
        ) from error


def chosen(manifests: Sequence[Descriptor], platforms: Sequence[Platform]) -> list[Descriptor]:
    """Those manifests of an index that are wanted: all, or the first for each platform.

    When none of them names a platform that is wanted, those that name none at all.
    """
    if not platforms:
        return list(manifests)
    fitting = (
        [one for one in manifests if one.platform is not None and one.platform.matches(platform)][:1]
        for platform in platforms
    )
    found = {one.digest: one for group in fitting for one in group}
    return list(found.values()) or [one for one in manifests if one.platform is None]


def walk(root: Root, platforms: Sequence[Platform], holds: Holds) -> Iterator[Descriptor]:
    """The blobs of an image, each before what it points to; below a blob that is not there nothing is known.

    Args:
        root: where it begins.
        platforms: for which; none means all of them.
        holds: whether a blob can be read.

    Raises:
        ArchiveError, IntegrityError: an index or a manifest is damaged.
    """
    pending = [root.descriptor]
    while pending:
        one = pending.pop(0)
        yield one
        if not (one.is_index or one.is_manifest) or not holds(one):
            continue
        below = children(one, read_blob(root.blobs, one))
        pending += chosen(below, platforms) if one.is_index else below


def missing(root: Root, platforms: Sequence[Platform], holds: Holds) -> Iterator[Descriptor]:
    """The blobs of :func:`walk` that are not there."""
    return (one for one in walk(root, platforms, holds) if not holds(one))


def reachable(root: Root, holds: Holds) -> Iterator[Descriptor]:
    """The blobs of an image, for all platforms, that are there."""
    return (one for one in walk(root, (), holds) if holds(one))


def present(root: Root, holds: Holds) -> Iterator[str]:
    """The platforms for which all blobs are there; one that the image does not name is "unknown"."""
    tops = [root.descriptor]
    if root.descriptor.is_index and holds(root.descriptor):
        tops = children(root.descriptor, read_blob(root.blobs, root.descriptor))
    for top in tops:
        below = Root(reference=root.reference, descriptor=top, blobs=root.blobs)
        if top.is_manifest and not any(missing(below, (), holds)):
            yield _platform(below)


def _platform(root: Root) -> str:
    if root.descriptor.platform is not None:
        return str(root.descriptor.platform)
    config = children(root.descriptor, read_blob(root.blobs, root.descriptor))[0]
    try:
        data = json.loads(read_blob(root.blobs, config))
        return str(
            Platform(architecture=data["architecture"], os=data["os"], variant=data.get("variant", ""))
        )
    except (ValueError, KeyError, TypeError):
        return "unknown"
