# SPDX-License-Identifier: Apache-2.0
"""Throw-away engines: there for one command or one test, and gone afterwards however that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import BUSYBOX, Home, wait_until


@pytest.fixture(scope="module")
def home(cache: Path) -> Iterator[Home]:
    made = Home.make(cache)
    try:
        made.cove("create", "fresh", "--driver", "qemu", "--accel", "tcg", "--cpus", "1", "--mount-none")
        made.cove("create", "plain", "--driver", "uml", "--mount-none", "--start", deadline=300)
        made.machine("plain").sh("echo left > /v/f", "-v", "vol:/v")
        made.cove("stop", "plain")
        yield made
    finally:
        made.close()


def gone(home: Home) -> None:
    """Nothing is left of throw-away machines: no folder, no context."""
    wait_until(lambda: home.names() == ["fresh", "plain"], "the end of the throw-away machine")
    folders = sorted(path.name for path in (home.root / "m").iterdir() if path.is_dir())
    assert folders == ["fresh", "plain"]
    assert {one["machine"] for one in home.json("context", "ls")} == {"fresh", "plain"}


def test_run_fresh_is_docker_run_on_an_engine_with_nothing_in_it(home: Home) -> None:
    script = "echo $(hostname) >> /v/f; cat /v/f; exit 3"
    seen = [
        home.cove("run", "--fresh", "--rm", "--hostname", f"h{number}", "-v", "vol:/v", BUSYBOX, "sh", "-c", script,
                  code=3, deadline=300).stdout
        for number in range(2)
    ]  # fmt: skip
    assert seen == [b"h0\n", b"h1\n"]
    gone(home)


def test_run_fresh_from_a_stopped_machine_has_what_that_has(home: Home) -> None:
    script = "cat /v/f; echo more >> /v/f"
    for _ in range(2):
        done = home.cove(
            "run", "--fresh", "-m", "plain", "--rm", "-v", "vol:/v", BUSYBOX, "sh", "-c", script, deadline=300
        )
        assert done.stdout == b"left\n"
    gone(home)


def test_ctrl_c_and_kill_leave_nothing(home: Home) -> None:
    script = "trap 'exit 5' INT; echo begun; while :; do sleep 1; done"
    with home.terminal("run", "--fresh", "--rm", BUSYBOX, "sh", "-c", script) as terminal:
        terminal.expect("begun", deadline=180)
        terminal.type("\x03")
        assert terminal.wait(120) == 5
    gone(home)
    with home.begun("run", "--fresh", "--rm", BUSYBOX, "sh", "-c", "echo begun; sleep 600") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"begun\n"
        os.kill(child.pid, signal.SIGKILL)
        gone(home)


def test_python_programs_get_an_engine_for_a_block(home: Home) -> None:
    program = """
import subprocess, cove
with cove.Client().fresh() as machine:
    print(machine.status, machine.name)
    raise SystemExit(subprocess.call(["true"]) + 7)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=home.environment, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith(b"running fresh-")
    gone(home)
