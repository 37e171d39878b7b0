# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from cove.errors import ArchiveError, IntegrityError, NotFoundError
from cove.image.oci.layout import Layout
from cove.image.oci.model import Descriptor, Platform
from cove.image.oci.reader import find_image
from cove.image.oci.reference import parse_reference
from cove.image.oci.store import ContentStore
from cove.image.oci.transfer import import_layout

from .layouts import LayoutMaker, layer_tar, member

AMD = Platform(architecture="amd64")
ARM = Platform(architecture="arm64")
DATA = layer_tar(member("a", b"hello" * 1000))


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    maker = LayoutMaker(tmp_path / "layout")
    maker.image("docker.io/fake/x:1", DATA)
    maker.image("docker.io/fake/y:latest", DATA, layer_tar(member("b", b"more")))
    return maker


@pytest.fixture
def store(tmp_path: Path, maker: LayoutMaker) -> ContentStore:
    store = ContentStore(tmp_path / "store")
    import_layout(store, Layout(maker.folder), ())
    return store


def files(store: ContentStore) -> set[str]:
    return {path.name for path in (store.root / "blobs").rglob("*") if path.is_file()}


def test_nothing_yet(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "none")
    assert store.images() == []
    assert store.find(parse_reference("x"), [AMD]) is None
    assert store.sweep() == 0
    with pytest.raises(NotFoundError):
        store.remove([parse_reference("x")])


def test_it_is_an_oci_layout(store: ContentStore) -> None:
    assert json.loads((store.root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    with find_image([Layout(store.root)], "fake/x:1", AMD).layers[0].open() as stream:
        assert stream.read() == DATA
    assert store.root.stat().st_mode & 0o777 == 0o700


def test_names_as_docker_has_them(store: ContentStore) -> None:
    assert [image.name for image in store.images()] == ["docker.io/fake/x:1", "docker.io/fake/y:latest"]
    assert store.find(parse_reference("fake/y"), [AMD]) is not None
    assert store.find(parse_reference("fake/x"), [AMD]) is None


def test_found_only_for_the_platforms_that_are_here(store: ContentStore, maker: LayoutMaker) -> None:
    both = maker.index([maker.manifest([DATA]), maker.manifest([DATA], architecture="arm64")])
    gone = json.loads((maker.folder / "blobs/sha256" / both["digest"][7:]).read_text())["manifests"][1]
    (maker.folder / "blobs/sha256" / gone["digest"][7:]).unlink()
    maker.name(both, "docker.io/fake/half:1")
    import_layout(store, Layout(maker.folder), ())
    name = parse_reference("fake/half:1")
    assert store.find(name, [AMD]) is not None
    assert store.find(name, [ARM]) is None
    assert store.find(name, []) is None
    [image] = [image for image in store.images() if image.name == str(name)]
    assert image.platforms == ("linux/amd64",)


def test_removing_keeps_what_others_share(store: ContentStore) -> None:
    before = files(store)
    assert store.remove([parse_reference("fake/x:1")]) > 0
    assert files(store) < before
    with find_image([store], "fake/y", AMD).layers[0].open() as stream:
        assert stream.read() == DATA
    store.remove([parse_reference("fake/y")])
    assert files(store) == set()


def test_an_unknown_name_removes_nothing(store: ContentStore) -> None:
    with pytest.raises(NotFoundError, match="fake/none"):
        store.remove([parse_reference("fake/x:1"), parse_reference("fake/none")])
    assert len(store.images()) == 2


def test_blobs_stay_while_someone_uses_them(store: ContentStore) -> None:
    with store.using():
        assert store.remove([parse_reference("fake/x:1")]) == 0
        assert store.sweep() == 0
    assert store.sweep() > 0


def test_a_new_image_takes_the_name(store: ContentStore, maker: LayoutMaker) -> None:
    maker.manifests.clear()
    maker.image("docker.io/fake/x:1", layer_tar(member("new", b"new")))
    import_layout(store, Layout(maker.folder), ())
    assert len(store.images()) == 2
    with find_image([store], "fake/x:1", AMD).layers[0].open() as stream:
        assert b"new" in stream.read()


def test_wrong_blobs_do_not_come_in(store: ContentStore) -> None:
    wrong = Descriptor(media_type="x", digest="sha256:" + "0" * 64, size=3)
    with store.using(), pytest.raises(IntegrityError):
        store.add(wrong, b"abc")
    assert not store.holds(wrong)
    assert not list(store.root.rglob("*.part")) or store.sweep() >= 0


def test_digests_that_would_be_paths(store: ContentStore) -> None:
    for digest in ("sha256:../../x", "sha256:" + "A" * 64, "md5:" + "0" * 32, "sha256:" + "0" * 63, "x"):
        with pytest.raises(ArchiveError):
            store.blob(digest)


def test_a_damaged_index_is_said(store: ContentStore) -> None:
    (store.root / "index.json").write_text("{")
    with pytest.raises(ArchiveError):
        store.images()
    with pytest.raises(ArchiveError):
        store.sweep()
    with pytest.raises(ArchiveError):
        store.name(parse_reference("x:1"), Descriptor(media_type="x", digest="sha256:" + "0" * 64, size=1))
    assert (store.root / "index.json").read_text() == "{"


def test_many_names_at_once(store: ContentStore, maker: LayoutMaker) -> None:
    descriptor = store.images()[0].descriptor
    threads = [
        threading.Thread(target=store.name, args=(parse_reference(f"fake/n:{number}"), descriptor))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.images()) == 10
