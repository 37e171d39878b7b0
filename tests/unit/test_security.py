# SPDX-License-Identifier: Apache-2.0
"""SECURITY.md promises only what a test holds: each promise names tests, and each test that is named is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "SECURITY.md").read_text()


def promises() -> Iterator[tuple[str, str]]:
    """The rows of the table of promises: what is promised, and what holds it."""
    section = TEXT.split("## What is promised")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| ") and not line.startswith("| promise |"):
            promise, held = line.strip("| ").rsplit(" | ", 1)
            yield promise, held


def names(held: str) -> Iterator[Path | str]:
    """The files in the right column, and ends of functions' names, such as ``..._deb``."""
    folder = TESTS
    for word in re.findall(r"`([^`]+)`", held):
        if word.startswith("..."):
            yield word.removeprefix("...")
        else:
            # a file without its folder lies beside the one before
            path = TESTS / word if "/" in word else folder / word
            folder = path.parent
            yield path


def test_there_are_promises() -> None:
    assert len(list(promises())) > 20


@pytest.mark.parametrize(("promise", "held"), list(promises()), ids=lambda text: text[:40])
def test_every_promise_is_held_by_tests_that_exist(promise: str, held: str) -> None:
    found = list(names(held))
    files = [name for name in found if isinstance(name, Path)]
    assert [path for path in files if re.fullmatch(r"test_\w+\.py", path.name)], f"no test holds: {promise}"
    assert not [str(path) for path in files if not path.exists()]
    text = "".join(path.read_text() for path in files if path.is_file())
    functions = re.findall(r"def (test_\w+)\(", text)
    for end in (name for name in found if isinstance(name, str)):
        assert any(name.endswith(end) for name in functions), f"no test ends with {end}"


def test_what_fails_is_seen() -> None:
    """The reading of the table itself: a missing file, a missing function, a promise without a test."""
    for held in (
        "`unit/no_such/test_x.py`",
        "no test",
        "`golden/qemu_argv`",
        "`unit/test_security.py` (`..._nowhere`)",
    ):
        with pytest.raises(AssertionError):
            test_every_promise_is_held_by_tests_that_exist("a promise", held)
