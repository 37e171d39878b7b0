# SPDX-License-Identifier: Apache-2.0
"""OCI layouts for tests: real blobs, indexes and manifests, made of a few lines."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def member(name: str, data: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One member of a layer: a file, or a folder when the name ends in a slash."""
    info = tarfile.TarInfo(name.rstrip("/") if name.endswith("/") else name)
    info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    info.mode = 0o755 if name.endswith("/") else 0o644
    info.mtime = 1_700_000_000
    for key, value in fields.items():
        setattr(info, key, value)
    info.size = len(data or b"")
    return info, data or b""


def layer_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class LayoutMaker:
    """Writes blobs and an index into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.manifests: list[dict[str, Any]] = []
        self._write_index()

    def blob(self, data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **more}

    def json(self, value: Any, kind: str, **more: Any) -> dict[str, Any]:
        return self.blob(json.dumps(value).encode(), kind, **more)

    def layer(self, data: bytes, compression: str = "gzip") -> dict[str, Any]:
        if compression == "gzip":
            return self.blob(gzip.compress(data, mtime=0), LAYER + "+gzip")
        if compression == "zstd":
            return self.blob(zstandard.compress(data), LAYER + "+zstd")
        return self.blob(data, LAYER)

    def manifest(
        self,
        layers: Sequence[bytes],
        config: Mapping[str, Any] | None = None,
        *,
        architecture: str = "amd64",
        compression: str = "gzip",
    ) -> dict[str, Any]:
        about = {
            "architecture": architecture,
            "os": "linux",
            "config": config or {},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers],
            },
        }
        return self.json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self.json(about, CONFIG),
                "layers": [self.layer(one, compression) for one in layers],
            },
            MANIFEST,
            platform={"architecture": architecture, "os": "linux"},
        )

    def index(self, manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return self.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}, INDEX)

    def name(self, descriptor: dict[str, Any], name: str) -> None:
        self.manifests.append({**descriptor, "annotations": {"io.containerd.image.name": name}})
        self._write_index()

    def image(self, name: str, *layers: bytes, config: Mapping[str, Any] | None = None, **more: Any) -> None:
        """An image for one platform, in an index."""
        self.name(self.index([self.manifest(layers, config, **more)]), name)

    def as_tar(self, path: Path) -> Path:
        with tarfile.open(path, "w") as tar:
            tar.add(self.folder, arcname=".")
        return path

    def _write_index(self) -> None:
        (self.folder / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests})
        )
