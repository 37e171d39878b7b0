# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cove.errors import ArchiveError, IntegrityError, NotFoundError, UsageError
from cove.image.oci.export import export_tar
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform
from cove.image.oci.reader import find_image
from cove.image.oci.reference import parse_reference
from cove.image.oci.store import ContentStore
from cove.image.oci.transfer import import_docker_archive, import_layout, is_layout, unpacked

from .layouts import LayoutMaker, layer_tar, member

AMD = Platform(architecture="amd64")
ARM = Platform(architecture="arm64")
DATA = layer_tar(member("a", b"hello" * 1000))
NAME = parse_reference("fake/x:1")


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    maker = LayoutMaker(tmp_path / "layout")
    maker.name(
        maker.index([maker.manifest([DATA]), maker.manifest([DATA], architecture="arm64")]),
        "docker.io/fake/x:1",
    )
    return maker


def contents(store: ContentStore, name: str = "fake/x:1", platform: Platform = AMD) -> bytes:
    with find_image([store], name, platform).layers[0].open() as stream:
        return stream.read()


def exported(store: ContentStore, *platforms: Platform, docker: bool = False) -> bytes:
    out = io.BytesIO()
    export_tar(store, NAME, platforms, out, docker=docker)
    return out.getvalue()


def docker_archive(path: Path, *, tags: list[str] | None) -> Path:
    """As docker save wrote it before it wrote OCI layouts, with a layer that is a link to another."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"]}}).encode()
    entries = [{"Config": "c.json", "RepoTags": tags, "Layers": ["1/layer.tar", "2/layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for name, data in {
            "1/layer.tar": DATA, "c.json": config, "manifest.json": json.dumps(entries).encode()
        }.items():  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("2/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../1/layer.tar"
        tar.addfile(link)
    return path


@pytest.mark.parametrize("form", ["folder", "tar", "gzip", "zstd", "stream"])
def test_layouts_in_every_form(store: ContentStore, maker: LayoutMaker, tmp_path: Path, form: str) -> None:
    tar = maker.as_tar(tmp_path / "x.tar")
    packed = tmp_path / "packed"
    packed.write_bytes(
        zstandard.compress(tar.read_bytes()) if form == "zstd" else gzip.compress(tar.read_bytes())
    )
    source: Any = {
        "folder": maker.folder, "tar": tar, "gzip": packed, "zstd": packed, "stream": io.BytesIO(tar.read_bytes())
    }[form]  # fmt: skip
    with unpacked(source, store.root) as path:
        assert is_layout(path)
        assert import_layout(store, Layout(path), ()) == [NAME]
    assert contents(store) == contents(store, platform=ARM) == DATA
    assert {path.name for path in store.root.iterdir()} <= {
        ".lock",
        ".use",
        "blobs",
        "index.json",
        "oci-layout",
    }


def test_another_name(store: ContentStore, maker: LayoutMaker) -> None:
    names = [parse_reference("a/b:1"), parse_reference("c:2")]
    assert import_layout(store, Layout(maker.folder), names) == names
    assert [image.name for image in store.images()] == ["docker.io/a/b:1", "docker.io/library/c:2"]


def test_a_name_is_for_one_image(store: ContentStore, maker: LayoutMaker) -> None:
    maker.image("docker.io/fake/y:1", layer_tar())
    with pytest.raises(UsageError, match="holds 2 images"):
        import_layout(store, Layout(maker.folder), [NAME])
    assert store.images() == []


def test_no_name_at_all(store: ContentStore, maker: LayoutMaker) -> None:
    maker.manifests = [{**maker.manifests[0], "annotations": {"org.opencontainers.image.ref.name": "1.0"}}]
    maker._write_index()
    with pytest.raises(UsageError, match="full name") as caught:
        import_layout(store, Layout(maker.folder), ())
    assert "--name" in str(caught.value.hint)
    assert import_layout(store, Layout(maker.folder), [NAME]) == [NAME]


def test_a_blob_that_was_altered(store: ContentStore, maker: LayoutMaker) -> None:
    largest = max((maker.folder / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[-1] ^= 1
    largest.write_bytes(data)
    with pytest.raises(IntegrityError):
        import_layout(store, Layout(maker.folder), ())
    assert store.images() == []


def test_an_image_that_is_not_whole(store: ContentStore, maker: LayoutMaker) -> None:
    largest = max((maker.folder / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.unlink()
    with pytest.raises(ArchiveError, match="not whole"):
        import_layout(store, Layout(maker.folder), ())


def test_docker_save(store: ContentStore, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "d.tar", tags=["fake/x:1", "fake/x:2"])
    with unpacked(path, store.root) as tar:
        assert not is_layout(tar)
        assert [str(one) for one in import_docker_archive(store, tar, ())] == [
            "docker.io/fake/x:1", "docker.io/fake/x:2"
        ]  # fmt: skip
    image = find_image([store], "fake/x:2", AMD)
    assert image.config["config"]["Env"] == ["A=1"]
    assert len(image.layers) == 2
    assert contents(store) == DATA


def test_docker_save_without_a_name(store: ContentStore, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "d.tar", tags=None)
    with pytest.raises(UsageError, match="has a name"):
        import_docker_archive(store, path, ())
    assert import_docker_archive(store, path, [NAME]) == [NAME]


@pytest.mark.parametrize("data", [b"", b"text", tarfile.TarInfo("x").tobuf() + b"\0" * 1024])
def test_something_else(store: ContentStore, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "odd").write_bytes(data)
    with unpacked(tmp_path / "odd", store.root) as path, pytest.raises(ArchiveError):
        import_docker_archive(store, path, ())
    with pytest.raises(NotFoundError), unpacked(tmp_path / "none", store.root):
        pass


def test_out_and_in_again(store: ContentStore, maker: LayoutMaker, tmp_path: Path) -> None:
    import_layout(store, Layout(maker.folder), ())
    data = exported(store)
    assert data == exported(store)
    (tmp_path / "out.tar").write_bytes(data)
    other = ContentStore(tmp_path / "other")
    assert import_layout(other, Layout(tmp_path / "out.tar"), ()) == [NAME]
    assert other.images() == store.images()


def test_one_platform_is_for_docker_too(store: ContentStore, maker: LayoutMaker) -> None:
    import_layout(store, Layout(maker.folder), ())
    with pytest.raises(UsageError, match="several platforms"):
        exported(store, docker=True)
    with tarfile.open(fileobj=io.BytesIO(exported(store, ARM, docker=True))) as tar:
        [entry] = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert entry["RepoTags"] == ["docker.io/fake/x:1"]
        config = json.load(tar.extractfile(entry["Config"]))  # type: ignore[arg-type]
        assert config["architecture"] == "arm64"
        assert all(layer in tar.getnames() for layer in entry["Layers"])


def test_out_what_is_here_of_several_platforms(store: ContentStore, maker: LayoutMaker) -> None:
    gone = json.loads((maker.folder / "blobs/sha256" / maker.manifests[0]["digest"][7:]).read_text())
    (maker.folder / "blobs/sha256" / gone["manifests"][1]["digest"][7:]).unlink()
    import_layout(store, Layout(maker.folder), ())
    with tarfile.open(fileobj=io.BytesIO(exported(store, docker=True))) as tar:
        [entry] = json.load(tar.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
    assert entry["digest"] == gone["manifests"][0]["digest"]
    with pytest.raises(NotFoundError, match="not here for linux/arm64"):
        exported(store, ARM)


def test_out_what_is_not_here(store: ContentStore, maker: LayoutMaker) -> None:
    with pytest.raises(NotFoundError, match="no image"):
        exported(store)
    import_layout(store, Layout(maker.folder), ())
    with pytest.raises(NotFoundError, match="not for linux/riscv64"):
        exported(store, Platform(architecture="riscv64"))
