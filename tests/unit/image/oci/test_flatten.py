# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from cove.errors import ArchiveError
from cove.image.oci.flatten import flatten
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform
from cove.image.oci.reader import find_image

from .layouts import LayoutMaker, layer_tar, member


def files(folder: Path, *layers: bytes) -> dict[str, bytes]:
    """Path -> contents, in the order in which they come."""
    maker = LayoutMaker(folder / "layout")
    maker.image("docker.io/fake/x:1", *layers)
    image = find_image([Layout(maker.folder)], "fake/x:1", Platform(architecture="amd64"))
    return {header.name: b"".join(data.chunks()) for header, data in flatten(image)}


def test_the_top_layer_comes_first_and_each_path_once(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        layer_tar(member("d/"), member("d/a", b"old"), member("d/b", b"b")),
        layer_tar(member("./d/"), member("./d/a", b"new")),
    )
    assert list(found.items()) == [("d", b""), ("d/a", b"new"), ("d/b", b"b")]


def test_a_whiteout_hides_a_file_and_a_folder_with_all_below_it(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        layer_tar(member("a"), member("d/"), member("d/e/"), member("d/e/f"), member("dx")),
        layer_tar(member(".wh.a"), member(".wh.d")),
    )
    assert list(found) == ["dx"]


def test_a_file_hides_a_folder_and_all_below_it(tmp_path: Path) -> None:
    found = files(tmp_path, layer_tar(member("d/"), member("d/e")), layer_tar(member("d", b"file")))
    assert found == {"d": b"file"}


def test_an_opaque_whiteout_hides_what_lower_layers_have_in_a_folder(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        layer_tar(member("d/"), member("d/old"), member("d/e/"), member("d/e/old"), member("other")),
        layer_tar(member("d/"), member("d/.wh..wh..opq"), member("d/new")),
    )
    assert list(found) == ["d", "d/new", "other"]


def test_an_opaque_root_hides_all(tmp_path: Path) -> None:
    assert (
        list(files(tmp_path, layer_tar(member("a"), member("d/b")), layer_tar(member(".wh..wh..opq")))) == []
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_never_hides_its_own_layer(tmp_path: Path, first: bool) -> None:
    whiteout, new = member(".wh.d"), [member("d/"), member("d/new")]
    found = files(
        tmp_path,
        layer_tar(member("d/"), member("d/old")),
        layer_tar(*([whiteout, *new] if first else [*new, whiteout])),
    )
    assert list(found) == ["d", "d/new"]


def test_a_whiteout_counts_below_a_folder_that_came_back_later(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        layer_tar(member("d/"), member("d/old")),
        layer_tar(member(".wh.d")),
        layer_tar(member("d/"), member("d/new")),
    )
    assert list(found) == ["d", "d/new"]


def test_what_aufs_left_is_no_file(tmp_path: Path) -> None:
    assert list(files(tmp_path, layer_tar(member(".wh..wh.plnk/"), member(".wh..wh.aufs"), member("a")))) == [
        "a"
    ]


@pytest.mark.parametrize("name", ["../a", "a/../../b", ".."])
def test_what_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="leads out"):
        files(tmp_path, layer_tar(member(name, b"x")))


def test_unknown_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="unknown type"):
        files(tmp_path, layer_tar(member("a", type=b"Z")))


def test_links_keep_their_targets(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "layout")
    maker.image(
        "docker.io/fake/x:1",
        layer_tar(
            member("a", b"1"),
            member("hard", type=tarfile.LNKTYPE, linkname="a"),
            member("soft", type=tarfile.SYMTYPE, linkname="/a"),
        ),
    )
    image = find_image([Layout(maker.folder)], "fake/x:1", Platform(architecture="amd64"))
    assert [(h.name, h.kind, h.link) for h, _ in flatten(image)] == [
        ("a", "0", ""),
        ("hard", "1", "a"),
        ("soft", "2", "/a"),
    ]
