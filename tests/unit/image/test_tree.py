# SPDX-License-Identifier: Apache-2.0
"""The tree: merged /usr, symlinks, folders and files in each other's way, globs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import ArchiveError
from cove.image.entries import EntryKind, directory, file, symlink
from cove.image.tree import Dropper, Tree


def paths(tree: Tree) -> list[str]:
    return [entry.path for entry in tree.sorted() if entry.kind is EntryKind.FILE]


def test_merged_usr() -> None:
    tree = Tree()
    for name in ("bin/a", "sbin/b", "lib/x/c", "lib64/d", "usr/bin/e"):
        tree.add(file(name, "x"))
    tree.add(directory("bin"))  # a package that still ships the folder does not undo the link
    tree.add(symlink("lib", "usr/lib"))
    assert paths(tree) == ["usr/bin/a", "usr/bin/e", "usr/lib/x/c", "usr/lib64/d", "usr/sbin/b"]
    assert "bin/a" in tree
    assert "usr/bin/a" in tree


def test_symlinks_lead_inside_the_tree_only() -> None:
    tree = Tree()
    tree.add(directory("run"))
    tree.add(symlink("var/run", "/run"))
    tree.add(symlink("up", "../../../../run"))
    tree.add(file("var/run/one", ""))
    tree.add(file("up/two", ""))
    assert paths(tree) == ["run/one", "run/two"]


def test_a_link_changed_later_counts_from_then_on() -> None:
    tree = Tree()
    tree.add(symlink("l", "a"))
    tree.add(file("l/x", ""))
    tree.add(symlink("l", "b"))
    tree.add(file("l/y", ""))
    assert paths(tree) == ["a/x", "b/y"]


def test_a_circle_of_symlinks() -> None:
    tree = Tree()
    tree.add(symlink("a", "b"))
    tree.add(symlink("b", "a"))
    with pytest.raises(ArchiveError, match="circle of symlinks"):
        tree.add(file("a/x", ""))


def test_the_later_file_stays_and_its_folder_too() -> None:
    tree = Tree()
    tree.add(replace(directory("d", 0o700), origin="first"))
    tree.add(file("d/x", "old"))
    tree.add(file("d/x", "new"))
    tree.add(directory("d", 0o755))
    assert tree.get("d/x").read() == b"new"  # type: ignore[union-attr]
    assert tree.get("d").mode == 0o755  # type: ignore[union-attr]


def test_an_empty_folder_may_become_a_link_and_a_full_one_not() -> None:
    tree = Tree()
    tree.add(directory("run/lock"))
    tree.add(symlink("run/lock", "../lock"))
    tree.add(file("full/x", ""))
    with pytest.raises(ArchiveError, match="/full cannot be both a directory"):
        tree.add(symlink("full", "x"))


def test_nothing_lies_below_a_file() -> None:
    tree = Tree()
    tree.add(file("f", ""))
    with pytest.raises(ArchiveError):
        tree.add(file("f/x", ""))
    with pytest.raises(ArchiveError):
        tree.add(directory("f"))


def test_missing_parents_are_made_and_present_ones_left() -> None:
    tree = Tree()
    tree.add(directory("etc", 0o755))
    tree.add(file("etc/secret/key", ""), parents=replace(directory("", 0o700), uid=7))
    assert tree.get("etc").mode == 0o755  # type: ignore[union-attr]
    made = tree.get("etc/secret")
    assert made is not None
    assert (made.mode, made.uid) == (0o700, 7)


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "-", "bin", "lib"]), min_size=1, max_size=4).map("/".join))
)
def test_folders_come_before_what_they_hold(names: list[str]) -> None:
    tree = Tree()
    for name in names:
        tree.add(directory(name))
    order = [entry.path for entry in tree.sorted()]
    assert len(set(order)) == len(order)
    for path in order:
        parent = path.rpartition("/")[0]
        assert not parent or order.index(parent) < order.index(path)


@pytest.mark.parametrize(
    ("glob", "dropped", "kept"),
    [
        ("usr/share/doc/**", ["usr/share/doc/a", "usr/share/doc/a/b"], ["usr/share/doc", "usr/share/docs/a"]),
        ("/boot/*", ["boot/a"], ["boot/a/b", "x/boot/a"]),
        ("**/*.pyc", ["a.pyc", "x/y/a.pyc"], ["a.py", "apyc"]),
        ("m/*/s/**", ["m/6.1/s/x/y"], ["m/6/1/s/x", "m/6.1/s"]),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("a+(b)", ["a+(b)"], ["aab"]),
    ],
)
def test_globs(glob: str, dropped: list[str], kept: list[str]) -> None:
    drop = Dropper(["nothing", glob])
    assert [drop(path) for path in dropped] == [True] * len(dropped)
    assert [drop(path) for path in kept] == [False] * len(kept)


def test_no_globs_drop_nothing() -> None:
    assert not Dropper([])("")
