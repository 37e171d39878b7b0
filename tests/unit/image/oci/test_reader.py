# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from cove.errors import ArchiveError, CoveError, NotFoundError
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform
from cove.image.oci.reader import find_image, find_root, manifests_of

from .layouts import LayoutMaker, layer_tar, member

AMD = Platform(architecture="amd64")
ARM = Platform(architecture="arm64", variant="v8")


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    return LayoutMaker(tmp_path / "layout")


def names(maker: LayoutMaker, name: str, platform: Platform = AMD) -> list[list[str]]:
    image = find_image([Layout(maker.folder)], name, platform)
    found = []
    for layer in image.layers:
        with layer.open() as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            found.append(tar.getnames())
    return found


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_an_image_is_read(maker: LayoutMaker, compression: str) -> None:
    layers = [layer_tar(member("a", b"1")), layer_tar(member("b", b"2"))]
    maker.image("docker.io/fake/x:1", *layers, config={"Cmd": ["/a"]}, compression=compression)
    image = find_image([Layout(maker.folder)], "fake/x:1", AMD)
    assert image.config["config"]["Cmd"] == ["/a"]
    assert str(image.reference) == "docker.io/fake/x:1"
    assert names(maker, "fake/x:1") == [["a"], ["b"]]


def test_the_manifest_of_the_platform_is_taken(maker: LayoutMaker) -> None:
    manifests = [
        maker.manifest([layer_tar(member(name))], architecture=architecture)
        for name, architecture in (("arm", "arm64"), ("amd", "amd64"))
    ]
    attestation = {**maker.manifest([b"x"]), "platform": {"architecture": "unknown", "os": "unknown"}}
    maker.name(maker.index([attestation, *manifests]), "docker.io/fake/x:1")
    assert names(maker, "fake/x:1") == [["amd"]]
    assert names(maker, "fake/x:1", ARM) == [["arm"]]
    with pytest.raises(NotFoundError, match="is not for linux/riscv64") as caught:
        names(maker, "fake/x:1", Platform(architecture="riscv64"))
    assert caught.value.details == "it is for linux/amd64, linux/arm64"


def test_a_manifest_needs_no_index_and_a_lone_one_no_platform(maker: LayoutMaker) -> None:
    manifest = maker.manifest([layer_tar(member("a"))])
    maker.name(manifest, "docker.io/fake/bare:1")
    maker.name(maker.index([{k: v for k, v in manifest.items() if k != "platform"}]), "docker.io/fake/lone:1")
    assert names(maker, "fake/bare:1") == names(maker, "fake/lone:1") == [["a"]]


def test_sources_are_asked_in_order(tmp_path: Path) -> None:
    makers = [LayoutMaker(tmp_path / str(number)) for number in range(2)]
    for number, maker in enumerate(makers):
        maker.image("docker.io/fake/both:1", layer_tar(member(f"from{number}")))
    makers[1].image("docker.io/fake/second:1", layer_tar(member("x")))
    sources = [Layout(maker.folder) for maker in makers]
    first = find_root(sources, "fake/both:1", [AMD])
    assert first.blobs is sources[0]
    assert find_root(sources, "fake/second:1", [AMD]).blobs is sources[1]
    with pytest.raises(NotFoundError, match=r"docker\.io/fake/third:1"):
        find_root(sources, "fake/third:1", [AMD])


def test_all_manifests_are_listed(maker: LayoutMaker) -> None:
    manifests = [maker.manifest([b""], architecture=name) for name in ("amd64", "arm64")]
    maker.name(maker.index(manifests), "docker.io/fake/x:1")
    root = find_root([Layout(maker.folder)], "fake/x:1", [])
    assert [str(one.platform) for one in manifests_of(root)] == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize(
    "broken", ["[]", "{", '{"config": {}}', '{"config": {"digest": 1}, "layers": []}', '{"layers": 1}']
)
def test_broken_manifests_are_typed_errors(maker: LayoutMaker, broken: str) -> None:
    kind = "application/vnd.oci.image.manifest.v1+json"
    maker.name(maker.blob(broken.encode(), kind), "docker.io/fake/x:1")
    with pytest.raises(CoveError):
        names(maker, "fake/x:1")


def test_a_blob_that_is_no_image_is_refused(maker: LayoutMaker) -> None:
    maker.name(maker.blob(b"{}", "text/plain"), "docker.io/fake/x:1")
    with pytest.raises(ArchiveError, match="is no image"):
        names(maker, "fake/x:1")
