# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.errors import ToolError, UnsupportedError
from cove.toolbox.launch import Form, argv, interpreter, library_folder, script

WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ELF = (
    b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0" + bytes(12) + (64).to_bytes(8, "little") + bytes(14)
    + (56).to_bytes(2, "little") + (1).to_bytes(2, "little") + bytes(6)
)  # fmt: skip


def segment(kind: int, text: bytes) -> bytes:
    header = kind.to_bytes(4, "little") + bytes(4) + (120).to_bytes(8, "little") + bytes(16)
    return ELF + header + len(text).to_bytes(8, "little") + bytes(16) + text


@pytest.mark.parametrize("form", ["loader", "plain", "patched"])
def test_argv(golden: Callable[[str, str], None], form: Form) -> None:
    words = argv(Path("/p/usr/bin/x"), name="x", root=Path("/p"), architecture="amd64", form=form)
    golden(f"toolbox/{form}.argv", "\n".join(words) + "\n")


def test_script(golden: Callable[[str, str], None]) -> None:
    golden("toolbox/script.sh", script(["/p/it's here/ld.so", "--argv0", "x"], {"B": "$b", "A": "a"}))


@given(st.lists(WORD, min_size=1, max_size=4), st.lists(WORD, max_size=4), WORD)
@settings(max_examples=40)
def test_scripts_pass_everything_on(command: list[str], arguments: list[str], value: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "wrapper")
        path.write_bytes(script(["printf", "%s\\0", *command], {"VALUE": value}).encode())
        done = subprocess.run(["sh", path, *arguments], capture_output=True, check=True, timeout=10)
    assert done.stdout.split(b"\0")[:-1] == [word.encode() for word in [*command, *arguments]]


def test_other_architectures() -> None:
    assert library_folder(Path("/p"), "arm64") == Path("/p/usr/lib/aarch64-linux-gnu")
    with pytest.raises(UnsupportedError, match="riscv64"):
        library_folder(Path("/p"), "riscv64")


def test_interpreter(tmp_path: Path) -> None:
    path = tmp_path / "program"
    for contents, expected in [
        (segment(3, b"/lib64/ld.so\0"), "/lib64/ld.so"),
        (segment(1, b"/lib64/ld.so\0"), None),
        (b"#!/bin/sh\n", None),
        (b"", None),
    ]:
        path.write_bytes(contents)
        assert interpreter(path) == expected


@pytest.mark.parametrize(
    "contents", [ELF, ELF[:20], ELF.replace(b"\x02\x01\x01", b"\x01\x01\x01", 1), segment(3, b"")[:100]]
)
def test_damaged_programs_are_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "program").write_bytes(contents)
    with pytest.raises(ToolError):
        interpreter(tmp_path / "program")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tail: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "program")
        path.write_bytes(b"\x7fELF\x02\x01" + tail)
        try:
            interpreter(path)
        except ToolError:
            return
