# SPDX-License-Identifier: Apache-2.0
"""Whole trees are followed: what changes is named, also in folders that came or moved later, and nothing else."""

from __future__ import annotations

import select
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cove.system import watch
from cove.system.watch import TreeWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("src/deep", "node_modules/x", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "src/file").write_text("1")
    return tmp_path


@pytest.fixture
def watching() -> Iterator[TreeWatch]:
    one = TreeWatch()
    yield one
    one.close()


def seen(watching: TreeWatch) -> dict[str, bool]:
    found: dict[str, bool] = {}
    end = time.monotonic() + 2
    while not found and select.select([watching], [], [], max(0, end - time.monotonic()))[0]:
        found |= watching.changed()
    return found | watching.changed()


def test_an_edit_a_new_file_and_a_deletion(tree: Path, watching: TreeWatch) -> None:
    watching.follow([tree])
    assert watching.changed() == {}
    (tree / "src/file").write_text("22")
    assert seen(watching) == {str(tree / "src/file"): True}
    (tree / "src/deep/new").touch()
    assert seen(watching) == {str(tree / "src/deep/new"): True}
    (tree / "src/deep/new").unlink()
    assert seen(watching) == {str(tree / "src/deep/new"): False, str(tree / "src/deep"): True}


def test_folders_that_come_are_followed_with_what_is_in_them(tree: Path, watching: TreeWatch) -> None:
    watching.follow([tree])
    shutil.copytree(tree / "src", tree / "copy")
    found = seen(watching)
    assert found[str(tree / "copy")]
    assert found[str(tree / "copy/file")]
    (tree / "copy/deep/late").touch()
    assert str(tree / "copy/deep/late") in seen(watching)


def test_a_folder_that_moved_is_followed_under_its_new_name(tree: Path, watching: TreeWatch) -> None:
    watching.follow([tree])
    (tree / "src").rename(tree / "moved")
    assert seen(watching)[str(tree / "src")] is False
    (tree / "moved/deep/x").touch()
    assert seen(watching) == {str(tree / "moved/deep/x"): True}


def test_what_nobody_edits_is_left_out(tree: Path, watching: TreeWatch) -> None:
    watching.follow([tree])
    (tree / "node_modules/x/index.js").touch()
    (tree / "other/link").symlink_to(tree)
    assert set(seen(watching)) == {str(tree / "other/link")}


def test_a_single_file(tree: Path, watching: TreeWatch) -> None:
    watching.follow([tree / "src/file", tree / "gone"])
    (tree / "src/other").touch()
    (tree / "src/file").write_text("3")
    assert seen(watching) == {str(tree / "src/file"): True}


def test_what_is_no_longer_wanted_is_left(tree: Path, watching: TreeWatch) -> None:
    watching.follow([tree / "src", tree / "other"])
    watching.follow([tree / "other"])
    watching.changed()
    (tree / "src/file").write_text("4")
    (tree / "other/file").write_text("4")
    assert set(seen(watching)) == {str(tree / "other/file")}


def test_there_is_an_end(tree: Path, watching: TreeWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FOLDERS", 2)
    watching.follow([tree])
    assert watching.full
    watching.follow([tree / "other"])
    assert not watching.full
