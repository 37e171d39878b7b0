# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from cove.errors import NotFoundError, ToolError
from cove.toolbox.model import Group, Program
from cove.toolbox.system import find
from cove.toolbox.toolbox import ensure

GROUP = Group(
    name="test",
    packages=("tool-package",),
    brew=("tool-formula",),
    programs=(
        Program(name="tool", path="usr/bin/tool", package="tool-package", minimum=(1, 2), wrapped=True),
        Program(name="quiet", path="usr/bin/quiet", package="tool-package", minimum=(1, 2), ask=()),
    ),
)


def never() -> NoReturn:
    raise AssertionError("the archive is not needed")


def program(path: Path, prints: str) -> None:
    path.write_text(f'#!/bin/sh\necho run >>"$0.log"\n{prints}\n')
    path.chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder / "tool", "echo 'tool 1.10 (x)'")
    program(folder / "quiet", "exit 1")
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {"COVE_TOOLS": "system", "PATH": f"{folder}:/usr/bin:/bin"}


def test_programs_of_the_host(folder: Path, tmp_path: Path) -> None:
    ensure(GROUP, archive=never, tools=tmp_path / "tools", env=environment(folder))
    box = ensure(GROUP, archive=never, tools=tmp_path / "tools", env=environment(folder))
    assert box.command("tool").argv == (str(folder / "tool"),)
    assert box.executable("tool") == folder / "tool"
    assert (box.lock(), box.firmware) == (None, ())
    assert [file.package for file in box.packages()] == [None, None]
    with pytest.raises(NotFoundError):
        box.path("usr/share")
    assert (folder / "tool.log").read_text() == "run\n", "the version is asked once"


@pytest.mark.parametrize(
    ("prints", "problem"),
    [
        ("echo 1.1.9", "is version 1.1.9; 1.2 or newer is needed"),
        ("echo what", "does not say its version"),
        ("echo broken >&2; exit 3", "does not run"),
    ],
)
def test_unusable_programs(folder: Path, tmp_path: Path, prints: str, problem: str) -> None:
    program(folder / "tool", prints)
    (folder / "quiet").unlink()
    with pytest.raises(ToolError) as caught:
        ensure(GROUP, archive=never, tools=tmp_path / "tools", env=environment(folder))
    assert problem in str(caught.value.details)
    assert "quiet was not found" in str(caught.value.details), "all problems are named at once"
    assert "install tool-package" in str(caught.value.hint)


def test_a_replaced_program_is_asked_again(folder: Path, tmp_path: Path) -> None:
    ensure(GROUP, archive=never, tools=tmp_path / "tools", env=environment(folder))
    program(folder / "tool", "echo tool 1.0 is older")
    with pytest.raises(ToolError):
        ensure(GROUP, archive=never, tools=tmp_path / "tools", env=environment(folder))


def test_on_a_mac_homebrew_is_looked_into_and_named(tmp_path: Path) -> None:
    brewed = tmp_path / "brew/bin"
    brewed.mkdir(parents=True)
    program(brewed / "tool", "echo 'tool 1.10 (x)'")
    program(brewed / "quiet", "exit 1")
    env = {"PATH": "/usr/bin:/bin", "HOMEBREW_PREFIX": str(tmp_path / "brew")}
    found = find(GROUP, env=env, seen=tmp_path / "seen.json", platform="darwin")
    assert found == {"tool": brewed / "tool", "quiet": brewed / "quiet"}
    (brewed / "quiet").unlink()
    with pytest.raises(ToolError) as caught:
        find(GROUP, env=env, seen=tmp_path / "seen.json", platform="darwin")
    assert caught.value.hint == "brew install tool-formula"
    assert "this Mac lacks" in caught.value.message
