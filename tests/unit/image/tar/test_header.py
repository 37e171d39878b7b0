# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.image.tar.header import clean, folder_of, relative


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [("", "."), (".", "."), ("./a", "a"), ("a/", "a"), ("a//b/./c", "a/b/c"), ("a/../b", "b"), ("../a", "../a"),
     ("a/../../b", "../b"), ("/..", "/"), ("//a", "/a"), ("a/b/..", "a")],
)  # fmt: skip
def test_paths_are_cleaned_as_go_does(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


@pytest.mark.parametrize(
    ("path", "folder"), [("a", "."), ("a/b", "a"), ("a/b/", "a/b"), ("/a", "/"), ("a//b", "a"), ("", ".")]
)
def test_the_folder_of_a_path(path: str, folder: str) -> None:
    assert folder_of(path) == folder


@pytest.mark.parametrize(
    ("folder", "target", "way"),
    [("a/b", "a/c", "../c"), (".", "x", "x"), ("a", "a", "."), ("a", "b/c", "../b/c"), ("./a", "./a/b", "b"),
     ("/a", "b", "/b")],
)  # fmt: skip
def test_the_way_from_a_folder(folder: str, target: str, way: str) -> None:
    assert relative(folder, target) == way
