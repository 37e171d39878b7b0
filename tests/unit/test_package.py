# SPDX-License-Identifier: Apache-2.0
"""What ``pip install .`` installs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    """Recipes, keys and the guest's files too, with the right to execute that some of them need."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        there = {info.filename: info.external_attr >> 16 & 0o111 != 0 for info in archive.infolist()}
    source = ROOT / "src"
    for package in ("cove", "cove_guest"):
        for path in (source / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                name = str(path.relative_to(source))
                assert there.get(name) == (path.stat().st_mode & 0o111 != 0), name
