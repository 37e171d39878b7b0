# SPDX-License-Identifier: Apache-2.0
"""Images out of the content store: a tar that is an OCI layout and, for one platform, what ``docker load`` takes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from cove.errors import NotFoundError, UsageError
from cove.image.oci.graph import blob_name, children, missing, present, walk
from cove.image.oci.layout import IMAGE_NAME, REF_NAME
from cove.image.oci.model import INDEX_TYPES, Descriptor, Platform, Root
from cove.image.oci.reader import choose_manifest
from cove.image.oci.reference import Reference
from cove.image.oci.store import ContentStore
from cove.image.oci.streams import read_blob


def export_tar(
    store: ContentStore, reference: Reference, platforms: Sequence[Platform], out: BinaryIO, *, docker: bool
) -> None:
    """Write an image as a tar, the same bytes for the same image.

    Args:
        store: where from.
        reference: which.
        platforms: for which; none means all that are here.
        out: where to.
        docker: it must be for ``docker load`` of any age, so for one platform.

    Raises:
        NotFoundError: the store does not have it, or not for one of the platforms.
        UsageError: ``docker``, and it is here for several platforms.
    """
    with store.using():
        root = store.named(reference)
        if root is None:
            raise NotFoundError(
                f"the content store has no image {reference}", hint=f"cove cache pull {reference}"
            )
        manifests = [choose_manifest(root, one) for one in platforms]
        for manifest, platform in zip(manifests, platforms, strict=True):
            if any(missing(replace(root, descriptor=manifest), (), store.holds)):
                raise NotFoundError(
                    f"{reference} is not here for {platform}",
                    hint=f"cove cache pull --platform {platform} {reference}",
                )
        manifests = manifests or _present(store, root)
        if docker and len(manifests) != 1:
            raise UsageError(
                f"{reference} is here for several platforms, and docker load takes one",
                hint="Name it with --platform.",
            )
        whole = not any(missing(root, (), store.holds))
        top = manifests[0] if len(manifests) == 1 and (platforms or not whole) else root.descriptor
        _write(store, root, top, manifests, out)


def _present(store: ContentStore, root: Root) -> list[Descriptor]:
    if root.descriptor.is_manifest:
        return [root.descriptor]
    whole = set(present(root, store.holds))
    below = children(root.descriptor, read_blob(store, root.descriptor))
    return [one for one in below if one.is_manifest and (str(one.platform) in whole or one.platform is None)]


def _write(
    store: ContentStore, root: Root, top: Descriptor, manifests: Sequence[Descriptor], out: BinaryIO
) -> None:
    blobs: dict[str, Descriptor] = {}
    for manifest in manifests:
        below = replace(root, descriptor=manifest, blobs=store)
        blobs |= {one.digest: one for one in walk(below, (), store.holds)}
    blobs[top.digest] = top
    name = str(root.reference)
    entry: dict[str, Any] = {
        "mediaType": top.media_type,
        "digest": top.digest,
        "size": top.size,
        "annotations": {IMAGE_NAME: name, REF_NAME: root.reference.tag or name},
    }
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": [entry]}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json(index))
        if len(manifests) == 1:
            config, *layers = children(manifests[0], read_blob(store, manifests[0]))
            tagged = [name] if root.reference.tag else []
            old = {
                "Config": blob_name(config.digest),
                "RepoTags": tagged,
                "Layers": [blob_name(layer.digest) for layer in layers],
            }
            _add(tar, "manifest.json", _json([old]))
        for digest in sorted(blobs):
            with store.open(blobs[digest]) as stream:
                _add(tar, blob_name(digest), stream, blobs[digest].size)


def _add(tar: tarfile.TarFile, name: str, data: bytes | BinaryIO, size: int | None = None) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    info.size = len(data) if isinstance(data, bytes) else size or 0
    tar.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else data)
    tar.members = []  # type: ignore[attr-defined]  # else it keeps every header it wrote


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
