# SPDX-License-Identifier: Apache-2.0
"""Real children of an event loop: started, bound, stopped, and gone when we are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cove.errors import ToolError
from cove.system import children
from cove.system.children import spawn
from cove.system.process import Command, Identity

SOURCE = Path(__file__).resolve().parents[3] / "src"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this")


def sh(script: str, **env: str) -> Command:
    return Command(("/bin/sh", "-c", script), env)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(SOURCE)!r})\n{code}"]


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(ToolError, match="x: /nonexistent/program cannot be started: No such file"):
        await spawn(Command(("/nonexistent/program",), {}), name="x")


async def test_spawned_child_writes_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    child = await spawn(sh("echo out; echo err >&2; exit 3"), name="x", log=log)
    assert await child.wait() == 3
    assert (child.returncode, child.name, child.stdout) == (3, "x", None)
    assert log.read_text() == "before\nout\nerr\n"
    await child.stop(1)
    child.kill()


@pytest.mark.parametrize("merge", [False, True])
async def test_spawned_childs_output_can_be_read(tmp_path: Path, merge: bool) -> None:
    child = await spawn(
        sh("echo out; echo err >&2; pwd"),
        name="x",
        log=tmp_path / "log",
        stdout_pipe=True,
        merge_stderr=merge,
        cwd=tmp_path,
    )
    assert child.stdout is not None
    text = (await child.stdout.read()).decode()
    await child.wait()
    assert text == ("out\nerr\n" if merge else "out\n") + f"{tmp_path}\n"
    assert (tmp_path / "log").read_text() == ("" if merge else "err\n")


async def test_spawned_child_is_stopped_gently_or_not(tmp_path: Path) -> None:
    gentle = await spawn(
        sh("trap 'exit 4' TERM; echo on; while :; do sleep 0.02; done"), name="x", stdout_pipe=True
    )
    assert gentle.stdout is not None
    await gentle.stdout.readline()
    assert gentle.identity.alive()
    assert gentle.pid == gentle.identity.pid
    assert not await gentle.wait_within(0.05)
    await gentle.stop(10)
    assert gentle.returncode == 4
    deaf = await spawn(sh("trap '' TERM; echo on; while :; do sleep 0.02; done"), name="x", stdout_pipe=True)
    assert deaf.stdout is not None
    await deaf.stdout.readline()
    await deaf.stop(0.1)
    assert deaf.returncode == -signal.SIGKILL
    assert await deaf.wait_within(5)


@linux
def test_spawned_child_dies_with_its_parent() -> None:
    code = """
import asyncio
from cove.system.children import spawn
from cove.system.process import Command
async def main():
    child = await spawn(Command(("sleep", "60"), {}), name="sleep")
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""
    parent = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = Identity.of(int(parent.stdout.readline()))
    assert child is not None
    assert child.alive()
    parent.kill()
    parent.communicate()
    assert child.wait_gone(10)


@linux
def test_a_child_whose_parent_is_gone_already_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    before_exec = children._before_exec(None, None)
    assert before_exec is not None
    ended: list[int] = []
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(os, "_exit", ended.append)
    # as PR_GET_PDEATHSIG, which is refused for want of a place: we are the one who calls it here
    monkeypatch.setattr(children, "_PR_SET_PDEATHSIG", 2)
    before_exec()
    assert ended == [127]


@linux
@pytest.mark.parametrize("cpu", [min(os.sched_getaffinity(0)), 100_000])
async def test_spawned_child_is_bound_to_a_processor_if_there_is_one(cpu: int) -> None:
    allowed = os.sched_getaffinity(0)
    child = await spawn(sh("echo on; exec sleep 60"), name="x", stdout_pipe=True, host_cpu=cpu)
    assert child.stdout is not None
    await child.stdout.readline()
    assert os.sched_getaffinity(child.pid) == ({cpu} if cpu in allowed else allowed)
    assert os.sched_getaffinity(0) == allowed
    await child.stop(5)


async def test_spawned_child_inherits_what_it_is_given(tmp_path: Path) -> None:
    outlet, inlet = os.pipe()
    child = await spawn(sh(f"echo $X > /dev/fd/{inlet}", X="through"), name="x", pass_fds=[inlet])
    os.close(inlet)
    await child.wait()
    with os.fdopen(outlet) as stream:
        assert stream.read() == "through\n"


def test_nothing_special_happens_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert children._before_exec(0, None) is None
