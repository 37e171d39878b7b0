# SPDX-License-Identifier: Apache-2.0
"""Write an image that ``docker load`` takes: one tar that is an OCI layout and a docker archive at once.

Formats: image-layout.md, manifest.md and config.md of opencontainers/image-spec 1.1; manifest.json as
``docker save`` has written it since Docker 1.10. The layer is stored once, uncompressed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cove.image.entries import MTIME, Entry, EntryKind, Piece, directory, file
from cove.image.spool import Written, write_tar

CREATED = "2017-04-18T16:30:00Z"
"""When every image was made, officially: the time of :data:`cove.image.entries.MTIME`."""

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEX = "application/vnd.oci.image.index.v1+json"


def write_docker_archive(
    layer: Path,
    layer_digest: Written,
    into: Path,
    *,
    reference: str,
    architecture: str,
    config: Mapping[str, Any],
) -> Written:
    """Write the archive.

    Args:
        layer: the tar of the image's only layer.
        layer_digest: its size and SHA-256.
        into: the archive.
        reference: the image's full name, with tag.
        architecture: as Docker and Debian name it ("amd64", "arm64").
        config: the image's ``config`` object: Cmd, Env and so on.

    Raises:
        StorageError: the disk is full; ``into`` may be half made.
    """
    contents = Piece(file=layer, offset=0, size=layer_digest.size)
    entries = archive_entries(
        contents, layer_digest, reference=reference, architecture=architecture, config=config
    )
    return write_tar(entries, into)


def archive_entries(
    layer: Piece, digest: Written, *, reference: str, architecture: str, config: Mapping[str, Any]
) -> Iterator[Entry]:
    """The files of the archive, sorted by path. Pure; arguments as in :func:`write_docker_archive`."""
    image = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": CREATED,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest.sha256}"]},
            "history": [{"created": CREATED, "created_by": "cove"}],
        }
    )
    layer_file = Entry(
        path=_blob(digest.sha256), kind=EntryKind.FILE, mode=0o644, mtime=MTIME, contents=layer
    )
    config_file = _blob_of(image)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, image),
            "layers": [{"mediaType": _LAYER, "digest": f"sha256:{digest.sha256}", "size": digest.size}],
        }
    )
    name, _, tag = reference.rpartition(":")
    described = _descriptor(_MANIFEST, manifest) | {
        "annotations": {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": tag,
        }
    }
    old = [{"Config": config_file.path, "RepoTags": [f"{name}:{tag}"], "Layers": [layer_file.path]}]
    yield from sorted(
        [
            directory("blobs"),
            directory("blobs/sha256"),
            layer_file,
            config_file,
            _blob_of(manifest),
            file("index.json", _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]})),
            file("manifest.json", _json(old)),
            file("oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
        ],
        key=lambda entry: entry.path,
    )


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _blob(sha256: str) -> str:
    return f"blobs/sha256/{sha256}"


def _blob_of(data: bytes) -> Entry:
    return file(_blob(hashlib.sha256(data).hexdigest()), data)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
