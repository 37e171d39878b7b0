# SPDX-License-Identifier: Apache-2.0
"""Composing a root: packages, generated files, the recipe's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.image.entries import Entry, EntryKind, directory, file, symlink
from cove.image.recipe import FileEntry, Kind
from cove.image.rootfs import CERTIFICATES, add_applets, add_files, add_packages, add_skeleton, source_files
from cove.image.tree import Dropper, Tree

from .parts import APPLETS, BUSYBOX

AUTHORITIES = "usr/share/ca-certificates/mozilla"


def entry(tree: Tree, path: str) -> Entry:
    found = tree.get(path)
    assert found is not None, path
    return found


def source(path: str, value: str, **more: object) -> FileEntry:
    return FileEntry(path=path, kind=Kind.SOURCE, value=value, where="r.yml:1", **more)  # type: ignore[arg-type]


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


def test_modes_and_parents_are_linuxkits(tmp_path: Path) -> None:
    (tmp_path / "src").write_text("s")
    tree = Tree()
    tree.add(directory("etc"))
    add_files(
        tree,
        [
            FileEntry(path="etc/a", kind=Kind.CONTENTS, value="x"),
            FileEntry(path="opt/deep/b", kind=Kind.CONTENTS, value="x", mode=0o644, uid=5, gid=6),
            FileEntry(path="srv/private/c", kind=Kind.CONTENTS, value="x"),
            FileEntry(path="d", kind=Kind.DIRECTORY),
            FileEntry(path="e", kind=Kind.SYMLINK, value="d"),
            source("f", "src"),
            source("g", "absent", optional=True),
        ],
        tmp_path,
    )
    modes = {path: entry(tree, path).mode for path in ("etc", "etc/a", "opt/deep", "srv/private", "d", "f")}
    assert modes == {
        "etc": 0o755, "etc/a": 0o600, "opt/deep": 0o755, "srv/private": 0o700, "d": 0o700, "f": 0o600,
    }  # fmt: skip
    assert (entry(tree, "opt").uid, entry(tree, "opt/deep/b").gid) == (5, 6)
    assert entry(tree, "e").kind is EntryKind.SYMLINK
    assert "g" not in tree


def test_files_win_over_packages(tmp_path: Path) -> None:
    tree = Tree()
    add_packages(tree, [[symlink("usr/sbin/iptables", "nft"), file("etc/x", "theirs")]], drop=Dropper([]))
    wanted = [
        FileEntry(path="sbin/iptables", kind=Kind.SYMLINK, value="legacy"),
        FileEntry(path="etc/x", kind=Kind.CONTENTS, value="ours"),
    ]
    add_files(tree, wanted, tmp_path)
    assert entry(tree, "usr/sbin/iptables").target == "legacy"
    assert entry(tree, "etc/x").read() == b"ours"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_folder_as_source_shows_no_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        top = tmp_path / "tree"
        (top / "sub/__pycache__").mkdir(parents=True)
        (top / "sub/run").write_text("#!/bin/sh\n")
        (top / "sub/run").chmod(0o700)
        (top / ".hidden").write_text("h")
        (top / "link").symlink_to("sub/run")
        (top / "x.pyc").write_text("")
        (top / "sub/__pycache__/y").write_text("")
    finally:
        os.umask(before)
    tree = Tree()
    add_files(tree, [source("opt/app", "tree")], tmp_path)
    found = {one.path: (one.kind.value, one.mode) for one in tree.under("opt")}
    assert found == {
        "opt/app": ("directory", 0o755),
        "opt/app/.hidden": ("file", 0o644),
        "opt/app/link": ("symlink", 0o777),
        "opt/app/sub": ("directory", 0o755),
        "opt/app/sub/run": ("file", 0o755),
    }


def test_a_mode_for_a_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/f").write_text("")
    tree = Tree()
    add_files(tree, [source("a", "t", mode=0o640)], tmp_path)
    assert [one.mode for one in (entry(tree, "a"), entry(tree, "a/f"))] == [0o750, 0o640]


def test_a_glob_takes_files_only(tmp_path: Path) -> None:
    for name in ("b.py", "a.py", "c.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "d.py").mkdir()
    tree = Tree()
    add_files(tree, [source("usr/lib/app", "*.py")], tmp_path)
    assert [one.path for one in tree.under("usr/lib/app")] == ["usr/lib/app/a.py", "usr/lib/app/b.py"]
    assert entry(tree, "usr/lib/app").mode == 0o755


@pytest.mark.parametrize("value", ["absent", "*.none"])
def test_a_missing_source_is_named_with_its_line(tmp_path: Path, value: str) -> None:
    assert source_files(value, tmp_path) == []
    with pytest.raises(UsageError, match=r"r\.yml:1: the source"):
        add_files(Tree(), [source("a", value)], tmp_path)
