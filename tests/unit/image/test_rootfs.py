# SPDX-License-Identifier: Apache-2.0
"""Composing a root: packages, generated files, and the files that a source names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.image.entries import Entry, directory, file
from cove.image.rootfs import CERTIFICATES, add_applets, add_packages, add_skeleton, source_files
from cove.image.tree import Dropper, Tree

from .parts import APPLETS, BUSYBOX

AUTHORITIES = "usr/share/ca-certificates/mozilla"


def entry(tree: Tree, path: str) -> Entry:
    found = tree.get(path)
    assert found is not None, path
    return found


def test_the_later_package_and_the_drops() -> None:
    tree = Tree()
    one = [file("etc/x", "one"), file("lib/modules/a", ""), file("usr/share/doc/d", "")]
    add_packages(
        tree, [one, [file("etc/x", "two")]], drop=Dropper(["usr/share/doc/**", "usr/lib/modules/**"])
    )
    assert entry(tree, "etc/x").read() == b"two"
    assert "usr/share/doc/d" not in tree
    assert "usr/lib/modules/a" not in tree


def test_certificates_are_joined_even_where_they_are_dropped() -> None:
    tree = Tree()
    package = [
        file(f"{AUTHORITIES}/b.crt", "B"),
        file(f"{AUTHORITIES}/a.crt", "A\n\n"),
        file(f"{AUTHORITIES}/n", ""),
    ]
    add_packages(tree, [package], drop=Dropper(["usr/share/**"]))
    assert entry(tree, CERTIFICATES).read() == b"A\nB\n"
    assert f"{AUTHORITIES}/a.crt" not in tree


def test_users_come_from_the_package_the_master_or_nowhere() -> None:
    for package, expected in (
        ([], b"root:x:0:0"),
        ([file("usr/share/base-passwd/passwd.master", "root:*:master")], b"root:*:master"),
        ([file("etc/passwd", "own")], b"own"),
    ):
        tree = Tree()
        add_packages(tree, [package], drop=Dropper([]))
        assert entry(tree, "etc/passwd").read().startswith(expected)


def test_the_skeleton_leaves_what_is_there() -> None:
    tree = Tree()
    tree.add(directory("root", 0o755))
    add_skeleton(tree)
    assert entry(tree, "root").mode == 0o755
    assert entry(tree, "tmp").mode == 0o1777


def test_applets_fill_the_gaps() -> None:
    tree = Tree()
    tree.add(file("usr/bin/busybox", BUSYBOX, 0o755))
    tree.add(file("usr/sbin/mount", "the real one"))
    add_applets(tree)
    assert entry(tree, "bin/sh").target == "busybox"
    assert "usr/bin/mount" not in tree
    assert len(tree.under("usr/bin")) == len(APPLETS) - 1
    with pytest.raises(UsageError, match="needs busybox"):
        add_applets(Tree())


def test_a_folder_as_source_is_taken_without_what_python_leaves(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    (top / "sub/__pycache__").mkdir(parents=True)
    for name in ("sub/run", ".hidden", "x.pyc", "sub/__pycache__/y"):
        (top / name).write_text("")
    (top / "link").symlink_to("sub/run")
    assert [name for name, _ in source_files("tree", tmp_path)] == ["", ".hidden", "link", "sub", "sub/run"]


def test_a_glob_takes_files_only(tmp_path: Path) -> None:
    for name in ("b.py", "a.py", "c.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "d.py").mkdir()
    assert [name for name, _ in source_files("*.py", tmp_path)] == ["", "a.py", "b.py"]


@pytest.mark.parametrize("value", ["absent", "*.none"])
def test_a_source_that_is_not_there(tmp_path: Path, value: str) -> None:
    assert source_files(value, tmp_path) == []
