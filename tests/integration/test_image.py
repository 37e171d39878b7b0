# SPDX-License-Identifier: Apache-2.0
"""The same packages make the same image, whoever builds it and wherever."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.world import Home, Machine

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
