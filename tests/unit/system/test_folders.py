# SPDX-License-Identifier: Apache-2.0
"""What real file systems can do; those of their own are mounted in a namespace of root's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cove.system.folders import examine

TRY = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from cove.system.folders import examine
print(json.dumps(asdict(examine(Path(sys.argv[1])))))
"""


def test_an_ordinary_folder(tmp_path: Path) -> None:
    found = examine(tmp_path)
    assert found.exists
    assert found.owned
    assert found.writable
    assert (found.locks, found.links, found.modes, found.sparse) == (True, True, True, True)
    assert found.free > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    found = examine(tmp_path / "a" / "b")
    assert (found.path, found.exists, found.writable) == (str(tmp_path), False, True)
    assert list(tmp_path.iterdir()) == []


def test_a_path_too_long_for_a_socket_says_nothing_about_the_file_system(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    assert examine(deep).sockets is None


def mounted(words: str, folder: Path) -> dict[str, Any]:
    """What is found on a mount of its own, or a skip where that cannot be had."""
    script = f'mount {words} "$1" || exit 77; shift; exec "$@"'
    argv = ["unshare", "-m", "sh", "-c", script, "sh", str(folder), sys.executable, "-c", TRY, str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 77:
        pytest.skip(f"mount {words}: {done.stderr}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_mounts(tmp_path: Path) -> None:
    found = mounted("-t tmpfs -o noexec,size=1m none", tmp_path)
    assert (found["kind"], found["noexec"], found["sparse"]) == ("tmpfs", True, True)
    assert found["free"] == 1 << 20
    found = mounted("-t tmpfs -o ro none", tmp_path)
    assert (found["writable"], found["sockets"]) == (False, None)
