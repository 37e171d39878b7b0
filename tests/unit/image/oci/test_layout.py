# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cove.errors import ArchiveError, NotFoundError
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform
from cove.image.oci.reader import find_image
from cove.image.oci.reference import parse_reference

from .layouts import LayoutMaker, layer_tar, member

AMD = Platform(architecture="amd64")


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    maker = LayoutMaker(tmp_path / "layout")
    maker.image("docker.io/fake/x:1", layer_tar(member("a", b"hello" * 1000)))
    return maker


def test_folder_and_tar_are_the_same(maker: LayoutMaker, tmp_path: Path) -> None:
    for path in (maker.folder, maker.as_tar(tmp_path / "layout.tar")):
        image = find_image([Layout(path)], "fake/x:1", AMD)
        with image.layers[0].open() as stream:
            assert b"hello" * 1000 in stream.read()


def test_a_digest_finds_an_image_under_any_name(maker: LayoutMaker) -> None:
    digest = maker.manifests[0]["digest"]
    assert Layout(maker.folder).find(parse_reference(f"other/name@{digest}"), [AMD]) is not None
    assert Layout(maker.folder).find(parse_reference(f"fake/x@sha256:{'0' * 64}"), [AMD]) is None


def test_a_full_ref_name_is_a_name_and_a_tag_is_not(maker: LayoutMaker) -> None:
    found = maker.manifests.pop()
    for name in ("docker.io/fake/kept:1", "1", "latest"):
        maker.manifests.append({**found, "annotations": {"org.opencontainers.image.ref.name": name}})
    maker._write_index()
    assert [str(name) for name, _ in Layout(maker.folder).images()] == ["docker.io/fake/kept:1"]


def test_latest_is_found_for_a_name_without_a_tag(maker: LayoutMaker) -> None:
    maker.image("docker.io/library/lib1:latest", layer_tar(member("a")))
    assert Layout(maker.folder).find(parse_reference("lib1"), [AMD]) is not None
    assert Layout(maker.folder).find(parse_reference("fake/x"), [AMD]) is None


def test_what_is_no_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        Layout(tmp_path / "absent")
    (tmp_path / "text").write_text("x" * 2000)
    with pytest.raises(ArchiveError, match="neither a folder nor a tar"):
        Layout(tmp_path / "text")
    with pytest.raises(ArchiveError, match="no OCI layout") as caught:
        Layout(tmp_path)
    assert "index.json" in str(caught.value.details)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(ArchiveError, match="no OCI layout"):
        Layout(tmp_path)


def test_a_missing_blob_is_named(maker: LayoutMaker) -> None:
    for blob in (maker.folder / "blobs/sha256").iterdir():
        if blob.stat().st_size < 400 and b"layers" in blob.read_bytes():
            blob.unlink()
    with pytest.raises(NotFoundError, match="has no blobs/sha256/"):
        find_image([Layout(maker.folder)], "fake/x:1", AMD)
