# SPDX-License-Identifier: Apache-2.0
"""Guests of machines: the same packages make the same image, whoever builds it and wherever; users' own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.world import Home, Machine, talk

EXAMPLE = Path(__file__).parents[2] / "examples/machine.yml"

BUILD = """
import os, sys
os.umask(int(sys.argv[1], 8))
from cove.sdk import Client
from cove.spec.machine import MachineSpec
spec = MachineSpec(name="m", driver=sys.argv[2], accel="none", cpus=1, memory=2**30, disk=2**30)
image = Client().workshop().guest(spec)
print(image.root.parent)
"""


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("driver", ["uml", "qemu"])
def test_two_builds_are_byte_identical(
    request: pytest.FixtureRequest, make_home: Callable[..., Home], tmp_path: Path, driver: str
) -> None:
    first: Machine = request.getfixturevalue(driver)
    assert first.home.cache is not None
    cache = tmp_path / "another cache, with a longer name"
    # the packages are spared a second download; everything made of them is made again
    shutil.copytree(first.home.cache / "archive", cache / "archive")
    home = make_home(cache, TZ="Pacific/Chatham", HOME="/nonexistent", LC_ALL="C", PYTHONHASHSEED="99")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, "077", driver], env=home.environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    again = Path(done.stdout.decode().strip())
    before = first.home.cache / "images" / str(first.inspect()["image"])
    assert again != before
    assert digests(again) == digests(before)


def test_a_machine_with_a_guest_of_its_own(home: Home, tmp_path: Path) -> None:
    yml, motd = tmp_path / "machine.yml", tmp_path / "motd"
    yml.write_text(EXAMPLE.read_text() + "  - {path: etc/issue, source: motd, mode: '0644'}\n")
    motd.write_text("first\n")
    home.cove("create", "mine", "--driver", "uml", "--image", str(yml), "--start")
    mine = home.machine("mine")
    try:
        assert mine.shell("jq", "-n", "6*7").stdout.split() == [b"42"]
        assert mine.shell("cat", "/etc/motd", "/etc/issue").stdout == b"a guest of my own\nfirst\n"
        assert mine.sh("nslookup host.docker.internal && echo found").endswith("found\n")
        first = mine.inspect()
        assert first["image_files"] == [str(yml)]
        home.cove("restart", "mine")
        assert mine.inspect()["image"] == first["image"]
        motd.write_text("second\n")
        home.cove("restart", "mine")
        assert mine.shell("cat", "/etc/issue").stdout == b"second\n"
        assert mine.inspect()["image"] != first["image"]
        home.cove("stop", "mine")
        yml.write_text("packages: {include: [busybox-static]}\n")
        refused = talk(home.cove("start", "mine", code=2))
        assert "no guest of a machine: it has no agent" in refused
        assert "Put cove.internal/agent into init" in refused
        yml.unlink()
        assert f"there is no file {yml}" in talk(home.cove("start", "mine", code=1))
    finally:
        home.cove("delete", "-f", "mine")


def test_yaml_of_a_guest_is_read_when_the_machine_is_created(home: Home, tmp_path: Path) -> None:
    yml = tmp_path / "x.yml"
    yml.write_text("packages: {inclde: [a]}\n")
    told = talk(home.cove("create", "bad", "--image", str(yml), code=2))
    assert "x.yml:1" in told
    assert "inclde" in told
    assert "bad" not in home.names()
