# SPDX-License-Identifier: Apache-2.0
"""A volume of format ``oci``: the image as an OCI layout, for whoever unpacks it in the running system."""

from __future__ import annotations

import json
from typing import Any

from cove.errors import ArchiveError, NotFoundError
from cove.image.linuxkit.output import Output
from cove.image.oci.layout import REF_NAME
from cove.image.oci.model import INDEX_TYPES, Descriptor, Platform, Root
from cove.image.oci.reader import descriptor_of, manifests_of
from cove.image.oci.streams import blob_chunks, read_blob
from cove.image.tar.header import DIRECTORY, Header

_LAYOUT = b'{\n\t\t"imageLayoutVersion": "1.0.0"\n\t}'


def write_layout(root: Root, prefix: str, out: Output, platforms: tuple[Platform, ...] = ()) -> None:
    """Put an image's blobs, all or those of some platforms, to ``prefix`` as an OCI layout.

    As in LinuxKit the index is written whole, even where manifests that it lists are left out.

    Args:
        root: the image.
        prefix: a path that ends in a slash.
        out: where to.
        platforms: none means all.

    Raises:
        NotFoundError: the image is not for one of ``platforms``.
    """
    manifests = [manifest for manifest in manifests_of(root) if manifest.is_manifest]
    if root.descriptor.is_index:
        _check_platforms(root, manifests, platforms)
    out.timeless(f"{prefix}oci-layout", _LAYOUT)
    for name in ("blobs/", "blobs/sha256/"):
        out.raw(Header(name=prefix + name, kind=DIRECTORY, mode=0o755))
    for manifest in manifests:
        chosen = not platforms or any(_serves(manifest.platform, one) for one in platforms)
        if chosen or not root.descriptor.is_index:
            _write_image(root, manifest, prefix, out)
    if root.descriptor.is_index:
        _write_blob(root, root.descriptor, prefix, out)
    out.timeless(f"{prefix}index.json", _index(root))


def _check_platforms(root: Root, manifests: list[Descriptor], platforms: tuple[Platform, ...]) -> None:
    missing = [str(one) for one in platforms if not any(_serves(each.platform, one) for each in manifests)]
    if missing:
        known = sorted({str(each.platform) for each in manifests if each.platform})
        raise NotFoundError(
            f"{root.reference} is not for {', '.join(missing)}",
            details=f"it is for {', '.join(known) or 'no platform'}",
        )


def _serves(offered: Platform | None, wanted: Platform) -> bool:
    return offered is not None and offered.matches(wanted) and wanted.variant in ("", offered.variant)


def _write_image(root: Root, manifest: Descriptor, prefix: str, out: Output) -> None:
    try:
        about: Any = json.loads(read_blob(root.blobs, manifest))
        blobs = [descriptor_of(about["config"]), *map(descriptor_of, about["layers"])]
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"{manifest.digest} of {root.reference} is no manifest") from error
    for blob in (*blobs, manifest):
        _write_blob(root, blob, prefix, out)


def _write_blob(root: Root, blob: Descriptor, prefix: str, out: Output) -> None:
    name = f"{prefix}blobs/{blob.digest.replace(':', '/', 1)}"
    out.raw(Header(name=name, size=blob.size), blob_chunks(root.blobs, blob))


def _index(root: Root) -> bytes:
    about = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPES[0],
        "manifests": [
            {
                "mediaType": INDEX_TYPES[0] if root.descriptor.is_index else root.descriptor.media_type,
                "size": root.descriptor.size,
                "digest": root.descriptor.digest,
                "annotations": {REF_NAME: str(root.reference)},
            }
        ],
    }
    return json.dumps(about, indent=3, ensure_ascii=False).encode()
