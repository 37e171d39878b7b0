# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.host.shell_env import render, shell_of

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("program", "shell"),
    [("/usr/bin/fish", "fish"), ("/bin/zsh", "posix"), ("", "posix"), (None, "posix"), ("fish", "fish")],
)
def test_shell_of(program: str | None, shell: str) -> None:
    assert shell_of(program) == shell


def test_posix_lines() -> None:
    text = render({"DOCKER_HOST": "unix:///h/it's/d.sock"}, shell="posix", command="cove env dev")
    assert text == (
        "export DOCKER_HOST='unix:///h/it'\"'\"'s/d.sock'\n"
        '# Run this to configure your shell: eval "$(cove env dev)"\n'
    )


def test_fish_lines() -> None:
    text = render({"DOCKER_HOST": "a'b\\c"}, shell="fish", command="cove env")
    assert (
        text == "set -gx DOCKER_HOST 'a\\'b\\\\c';\n# Run this to configure your shell: cove env | source\n"
    )


def test_unset() -> None:
    assert render({"A": "x"}, shell="posix", command="c", unset=True).startswith("unset A\n")
    assert render({"A": "x"}, shell="fish", command="c", unset=True).startswith("set -e A;\n")


@given(TEXT.filter(lambda text: "\r" not in text))
def test_any_value_survives_a_shell(value: str) -> None:
    script = render({"VALUE": value}, shell="posix", command="cove env") + 'printf "%s" "$VALUE"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=10)
    assert done.stdout.decode() == value


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed here")
@given(TEXT)
def test_any_value_survives_fish(value: str) -> None:
    script = render({"VALUE": value}, shell="fish", command="cove env") + 'printf "%s" "$VALUE"'
    done = subprocess.run(["fish", "-c", script], capture_output=True, check=True, timeout=10)
    assert done.stdout.decode() == value
