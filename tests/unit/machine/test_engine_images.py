# SPDX-License-Identifier: Apache-2.0
"""Images out of a docker engine, with a stand-in that answers as dockerd does."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from cove.errors import EngineError, NotFoundError, UnsupportedError
from cove.events import silent
from cove.host.engine import Engine
from cove.image.oci.model import Platform
from cove.image.oci.reader import find_root, open_image
from cove.machine.engine_images import EngineImages, engine_socket
from tests.unit.image.oci.layouts import layer_tar, member

AMD64 = Platform(architecture="amd64")


def saved(name: str) -> bytes:
    """An archive as ``docker save`` wrote it before it wrote layouts."""
    layer = layer_tar(member("file", b"of the engine"))
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers"}})
    manifest = json.dumps([{"Config": "c.json", "RepoTags": [name], "Layers": ["l/layer.tar"]}])
    return layer_tar(
        member("c.json", config.encode()),
        member("l/layer.tar", layer),
        member("manifest.json", manifest.encode()),
    )


class Dockerd(Engine):
    """Has one image."""

    def __init__(self, name: str) -> None:
        super().__init__(Path("/nowhere"))
        self.name, self.saves = name, 0

    def get(self, route: str, **_query: str) -> Any:
        if route != f"/images/{self.name}/json":
            raise EngineError("no such image", details="HTTP status 404")
        return {"Os": "linux", "Architecture": "amd64"}

    def save(self, reference: str, into: IO[bytes]) -> None:
        self.saves += 1
        into.write(saved(reference))


def find(source: EngineImages, name: str, platforms: Sequence[Platform] = (AMD64,)) -> bytes:
    image = open_image(find_root([source], name, platforms), platforms[0])
    with image.layers[0].open() as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
        file = tar.extractfile("file")
        assert file is not None
        return file.read()


def test_an_image_is_copied_once(tmp_path: Path) -> None:
    dockerd = Dockerd("docker.io/me/tool:1")
    source = EngineImages(dockerd, tmp_path, silent)
    assert find(source, "me/tool:1") == b"of the engine"
    assert find(source, "me/tool:1") == b"of the engine"
    assert dockerd.saves == 1
    with pytest.raises(NotFoundError):
        find(source, "me/other:1")
    with pytest.raises(NotFoundError):
        find(source, "me/tool:1", [Platform(architecture="arm64")])
    assert dockerd.saves == 1


def test_which_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "docker.sock"
    monkeypatch.setattr("cove.machine.engine_images.SYSTEM_SOCKET", tmp_path / "none")
    with pytest.raises(NotFoundError, match="no docker engine"):
        engine_socket({}, own)
    own.touch()
    assert engine_socket({}, own) == own
    assert engine_socket({"DOCKER_HOST": "unix:///x/y.sock"}, own) == Path("/x/y.sock")
    with pytest.raises(UnsupportedError, match="tcp://x"):
        engine_socket({"DOCKER_HOST": "tcp://x"}, own)
