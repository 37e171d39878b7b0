# SPDX-License-Identifier: Apache-2.0
"""Units and agents as text; systemd itself reads the unit where it is installed."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cove.host.autostart import Job, agent, belongs, unit

JOB = Job(
    machine="default",
    start=["/opt/co ve/python", "-m", "cove", "start", "default"],
    stop=["/opt/co ve/python", "-m", "cove", "stop", "default"],
    env={"COVE_HOME": '/home/J "D"/100%/$x', "PATH": "/usr/bin:/bin"},
    log=Path("/m/autostart.log"),
)


def test_unit(golden: Callable[[str, str], None]) -> None:
    golden("autostart/cove-default.service", unit(JOB))


def test_agent(golden: Callable[[str, str], None]) -> None:
    golden("autostart/internal.cove.default.plist", agent(JOB).decode())
    assert plistlib.loads(agent(JOB))["ProgramArguments"] == JOB.start


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    job = Job(
        machine="m", start=[sys.executable, "$x", "%h"], stop=[sys.executable], env=JOB.env, log=JOB.log
    )
    path = tmp_path / "cove-m.service"
    path.write_text(unit(job))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(path)],
        capture_output=True, text=True, check=False, env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    assert str(path.name) not in done.stderr
    assert done.returncode == 0, done.stderr


def test_whose_they_are() -> None:
    home = JOB.env["COVE_HOME"]
    for contents in (unit(JOB).encode(), agent(JOB)):
        assert belongs(contents, home)
        assert not belongs(contents, f"{home}/other")
        assert not belongs(contents, home[:-1])
    assert not belongs(b"<plist>", home)
    assert not belongs(plistlib.dumps([]), home)
