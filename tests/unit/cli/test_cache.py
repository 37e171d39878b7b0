# SPDX-License-Identifier: Apache-2.0
"""Images in the content store, through the command line, with a registry on the loopback."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cove
from tests.unit.image.oci.layouts import LayoutMaker, layer_tar, member
from tests.unit.image.registry.server import Registry


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    maker = LayoutMaker(tmp_path / "layout")
    maker.image("docker.io/fake/x:1", layer_tar(member("a", b"hello")))
    return maker.folder


@pytest.fixture
def registry(layout: Path) -> Iterator[Registry]:
    registry = Registry(auth="token")
    registry.take(layout)
    with registry.serving():
        yield registry


def test_in_out_and_away(cove: Cove, layout: Path, tmp_path: Path) -> None:
    assert cove("cache", "import", str(layout)).out == "docker.io/fake/x:1\n"
    assert cove("cache", "ls", "-q").out == "docker.io/fake/x:1\n"
    header, row = cove("cache", "ls").out.splitlines()
    assert header.split() == ["NAME", "PLATFORMS", "DIGEST", "SIZE"]
    assert row.split()[1] == "linux/amd64"
    [one] = json.loads(cove("cache", "ls", "--json").out)
    assert set(one) == {"name", "digest", "platforms", "size"}
    out = tmp_path / "out.tar"
    assert cove("cache", "export", "fake/x:1", "-o", str(out), "--format", "docker").code == 0
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask()
    with tarfile.open(out) as tar:
        assert {"index.json", "manifest.json", "oci-layout"} <= set(tar.getnames())
    assert cove("cache", "rm", "fake/x:1").out.startswith("Total reclaimed space: ")
    assert cove("cache", "ls", "-q").out == ""
    assert cove("cache", "import", str(out), "--name", "other").out == "docker.io/library/other:latest\n"
    assert json.loads(cove("cache", "rm", "--all", "--json").out)["freed"] > 0


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_pull(cove: Cove, registry: Registry) -> None:
    name = f"{registry.host}/fake/x:1"
    done = cove("cache", "pull", name)
    assert done.out == f"{name}@{registry.tags['fake/x:1']}\n"
    assert cove("cache", "pull", "--all-platforms", name).code == 0
    assert cove("--offline", "cache", "pull", name).code == 1
    assert cove("cache", "pull", "--platform", "linux/riscv64", name).code == 1
    mirrored = cove("cache", "pull", "--mirror", f"a.example=http://{registry.host}", "a.example/fake/x:1")
    assert mirrored.out.startswith("a.example/fake/x:1@sha256:")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["pull"], 2, "Missing argument"),
        (["pull", "--platform", "x", "--all-platforms", "y"], 2, "both"),
        (["pull", "UPPER"], 2, "not the name of an image"),
        (["pull", "--mirror", "x", "y"], 2, "not the address of a mirror"),
        (["rm"], 2, "nothing was named"),
        (["rm", "x", "--all"], 2, "both"),
        (["rm", "x"], 1, "no image"),
        (["import", "/nowhere/at/all"], 1, "cannot be read"),
        (["export", "x", "-o", "/nowhere/at/all"], 2, "cannot be written"),
        (["export", "x"], 1, "no image"),
    ],
)
def test_refused(cove: Cove, arguments: list[str], code: int, said: str) -> None:
    done = cove("cache", *arguments)
    assert done.code == code
    assert said in done.err


def test_a_failed_export_leaves_nothing(cove: Cove, tmp_path: Path) -> None:
    assert cove("cache", "export", "x", "-o", str(tmp_path / "out.tar")).code == 1
    assert list(tmp_path.glob("*out*")) == []


def test_prune_keeps_named_images(cove: Cove, layout: Path) -> None:
    cove("cache", "import", str(layout))
    cove("cache", "prune", "--all")
    assert cove("cache", "ls", "-q").out == "docker.io/fake/x:1\n"
