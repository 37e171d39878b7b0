# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cove.debian.lock import Lock
from cove.errors import ToolError
from cove.toolbox.model import Group
from cove.toolbox.prefix import definition, fill, prefix_name, whole
from tests.unit.toolbox.conftest import TinyArchive


def test_the_key_changes_with_all_that_decides(group: Group) -> None:
    keys = {
        definition(group, "amd64", Path("/a")),
        definition(group, "amd64", Path("/b")),
        definition(group, "arm64", Path("/a")),
        definition(replace(group, drop=()), "amd64", Path("/a")),
    }
    assert len(keys) == 4
    assert definition(group, "amd64", Path("/a")) in keys, "the same again gives the same"


def test_the_name_changes_with_key_and_packages(group: Group, archive: TinyArchive) -> None:
    lock = archive.resolve(("tool",))
    names = {prefix_name(group, "a", lock), prefix_name(group, "b", lock), prefix_name(group, "a", Lock(()))}
    assert len(names) == 3
    assert all(name.startswith("test-") for name in names)


def test_a_missing_program_is_named(group: Group, archive: TinyArchive, tmp_path: Path) -> None:
    archive.contents["tool"] = {}
    lock = archive.resolve(("tool",))
    (tmp_path / "scratch").mkdir()
    with pytest.raises(ToolError, match="tool does not hold usr/bin/dynamic"):
        fill(
            tmp_path / "scratch", tmp_path / "final", group=group, architecture="amd64", lock=lock,
            debs=archive.fetch(lock),
        )  # fmt: skip


def test_a_missing_loader_is_named(group: Group, archive: TinyArchive, tmp_path: Path) -> None:
    archive.contents["libc6"] = {}
    lock = archive.resolve(("tool",))
    (tmp_path / "scratch").mkdir()
    with pytest.raises(ToolError, match="no dynamic loader"):
        fill(
            tmp_path / "scratch", tmp_path / "final", group=group, architecture="amd64", lock=lock,
            debs=archive.fetch(lock),
        )  # fmt: skip


def test_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("12")
    assert whole(tmp_path, {"a": 2})
    assert not whole(tmp_path, {"a": 3})
    assert not whole(tmp_path, {"a": 2, "b": 0})
    assert not whole(tmp_path, {})
