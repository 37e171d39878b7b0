# SPDX-License-Identifier: Apache-2.0
"""What a build needs does not grow with the image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .oci.layouts import LayoutMaker, layer_tar, member

CHILD = """
import json, resource, sys
from cove.cli.app import run
import cove.image.produce, cove.machine.building
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
code = run(sys.argv[1:])
print(json.dumps([code, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024]))
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="memory is counted in other units there")
@pytest.mark.parametrize("form", ["tar", "kernel+initrd"])
def test_memory_does_not_grow_with_the_image(tmp_path: Path, form: str) -> None:
    maker = LayoutMaker(tmp_path / "layout")
    maker.image(
        "docker.io/fake/big:1", layer_tar(*(member(f"f{number}", bytes(40 << 20)) for number in range(4)))
    )
    (tmp_path / "big.yml").write_text("init: [fake/big:1]")
    arguments = ["--offline", "-q", "build", "-f", form, "--images", "layout", "big.yml"]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        cwd=tmp_path,
        env={"COVE_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        timeout=110,
    )
    code, megabytes = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert megabytes < 64
