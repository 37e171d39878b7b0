# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from cove.cli.app import run
from tests.unit.debian.world import serve
from tests.unit.image.oci.layouts import LayoutMaker, layer_tar, member


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COVE_HOME", str(tmp_path / "home"))
    Path("a.yml").write_text("files: [{path: a, contents: x, mode: '0644'}]\n")


@pytest.mark.parametrize("dash", ["-", "--"])
def test_options_may_have_one_dash(dash: str) -> None:
    assert run(["build", f"{dash}format", "tar", f"{dash}name=out", f"{dash}dir", ".", "a.yml"]) == 0
    assert Path("out.tar").is_file()


def test_names_come_from_the_last_file() -> None:
    Path("b.c.yml").write_text("{}")
    assert run(["build", "a.yml", "b.c.yml"]) == 0
    assert Path("b.c-initrd.img").is_file()


def test_stdin_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(b"files: [{path: q, contents: x}]"))
    monkeypatch.setattr(sys, "stdin", stream)
    assert run(["build", "-f", "tar", "-"]) == 0
    assert b"files[0]" in Path("moby.tar").read_bytes()


def test_a_file_may_be_a_page_of_the_web(capsys: pytest.CaptureFixture[str]) -> None:
    with serve({"/far.yml": b"files: [{path: q, contents: x}]"}) as server:
        assert run(["build", "-f", "tar", f"{server.url}/far.yml"]) == 0
        assert b"files[0]" in Path("far.tar").read_bytes()
        assert run(["--offline", "build", f"{server.url}/far.yml"]) == 1
        assert "would have to be fetched" in capsys.readouterr().err
        assert run(["build", f"{server.url}/lost.yml"]) == 1
        assert "404" in capsys.readouterr().err


def test_a_dry_run_prints_the_configuration_and_says_what_would_stop_a_build(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("v.yml").write_text("services: [{name: s, image: x, binds: ['v:/v']}]")
    assert run(["build", "--dry-run", "a.yml", "v.yml"]) == 0
    said = capsys.readouterr()
    assert "- path: a\n" in said.out
    assert "v.yml:1: services[0].binds[0]: volume 'v' not found" in said.err
    assert run(["build", "a.yml", "v.yml"]) == 2
    assert [path.name for path in Path().iterdir() if path.suffix != ".yml"] == []


def test_images_come_from_the_content_store_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maker = LayoutMaker(tmp_path / "layout")
    maker.image("docker.io/fake/init:1", layer_tar(member("init", b"#!/bin/sh")))
    Path("i.yml").write_text("init: [fake/init:1]")
    assert run(["--offline", "build", "i.yml"]) == 1
    assert "no image docker.io/fake/init:1 was found" in capsys.readouterr().err
    assert run(["cache", "import", "layout"]) == 0
    assert run(["--offline", "build", "-f", "tar", "i.yml"]) == 0
    assert b"#!/bin/sh" in Path("i.tar").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.yml"], 1, "there is no file none.yml"),
        (["-o", "x", "--name", "y", "a.yml"], 2, "-o does not go with --name"),
        (["--images", "none", "a.yml"], 1, "none does not exist"),
        (["-f", "zip", "a.yml"], 2, "unknown format"),
        ([], 2, "Missing argument"),
        (["bad.yml"], 2, "not UTF-8"),
    ],
)
def test_what_goes_wrong_is_said(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.yml").write_bytes(b"\xff\xfe\x00")
    assert run(["build", *arguments]) == code
    assert words in capsys.readouterr().err
