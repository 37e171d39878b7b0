# SPDX-License-Identifier: Apache-2.0
"""The error family is what its drawing says, and every error can be told to people and to programs."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from cove import errors
from cove.errors import CommandError, CoveError, GuestError, IntegrityError

FAMILY = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, CoveError)
}
DRAWN = re.compile(r"^( {4}[│├└─ ]*)(\w+Error) +exit (\d+) +\S")


def drawn() -> dict[str, tuple[str | None, int]]:
    """Each error of the drawing: its parent and its exit code."""
    found: dict[str, tuple[str | None, int]] = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := DRAWN.match(line):
            column = len(match[1])
            parents = [parent for parent in parents if parent[0] < column]
            found[match[2]] = (parents[-1][1] if parents else None, int(match[3]))
            parents.append((column, match[2]))
    return found


def make(kind: type[CoveError]) -> CoveError:
    """An error of this kind with all that an error can carry."""
    if issubclass(kind, CommandError):
        return kind("no", argv=["a b", "c"], returncode=3, output="text", hint="try", log=Path("/log"))
    if issubclass(kind, IntegrityError):
        return kind("Release", expected="sha256 1", found="sha256 2", hint="try")
    return kind("no", details="because", hint="try", log=Path("/log"))


def test_the_drawing_is_the_family() -> None:
    real = {
        name: (kind.__base__.__name__ if kind is not CoveError and kind.__base__ else None, kind.exit_code)
        for name, kind in FAMILY.items()
    }
    assert drawn() == real


def test_every_error_says_in_its_own_words_what_it_means() -> None:
    first_lines = [(inspect.cleandoc(kind.__doc__ or "").splitlines() or [""])[0] for kind in FAMILY.values()]
    assert all(line.endswith(".") for line in first_lines)
    assert len(set(first_lines)) == len(first_lines)


@pytest.mark.parametrize("kind", FAMILY.values(), ids=lambda kind: kind.__name__)
def test_every_error_is_json_data(kind: type[CoveError]) -> None:
    error = make(kind)
    data = json.loads(json.dumps(error.as_dict()))
    assert list(data) == ["error", "message", "details", "hint", "log"]
    assert (data["error"], data["hint"]) == (kind.__name__, "try")
    assert data["message"] == error.message == str(error)


def test_bare_error_leaves_the_rest_open() -> None:
    assert CoveError("no").as_dict() == {
        "error": "CoveError", "message": "no", "details": None, "hint": None, "log": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "words"),
    [(3, "(exit code 3)"), (0, "(exit code 0)"), (-9, "(signal 9)"), (None, "(exit code None)")],
)
def test_a_failed_command_can_be_pasted_into_a_shell(code: int | None, words: str) -> None:
    error = CommandError(
        "formatting failed", argv=["mke2fs", "a b", "$x"], returncode=code, output="\nno space\n"
    )
    assert error.details == f"$ mke2fs 'a b' '$x'\n{words}\nno space"
    assert (error.argv, error.returncode, error.output) == (["mke2fs", "a b", "$x"], code, "\nno space\n")


def test_a_silent_command_has_no_empty_line() -> None:
    assert CommandError("no", argv=["true"], returncode=1, output=" \n").details == "$ true\n(exit code 1)"


def test_altered_contents_name_file_and_both_digests() -> None:
    error = IntegrityError("pool/x.deb", expected="sha256 aa", found="sha256 bb")
    assert "pool/x.deb" in error.message
    assert error.details == "expected sha256 aa\nfound    sha256 bb"
    assert (error.name, error.expected, error.found) == ("pool/x.deb", "sha256 aa", "sha256 bb")
    assert "another mirror" in (error.hint or "")


def test_guest_error_has_a_word_for_programs() -> None:
    assert GuestError("no").code == "failed"
