# SPDX-License-Identifier: Apache-2.0
"""The library that keeps stops from User-Mode Linux, before a real tracer with a real traced process."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cove.toolbox.stop_guard import NAME, stop_guard

# prints what a tracer is told: of the child's own stop, of others' signals, of its end, and of an unknown child
TRACER = """
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
def told(pid):
    status = ctypes.c_int()
    assert libc.waitpid(pid, ctypes.byref(status), 0x40000002) == pid
    return status.value
pid = os.fork()
if pid == 0:
    libc.ptrace(0, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        time.sleep(1)
print(os.WSTOPSIG(told(pid)))
for name in sys.argv[1:]:
    libc.ptrace(7, pid, None, None)
    os.kill(pid, getattr(signal, name))
    status = told(pid)
    print(name, os.WIFSTOPPED(status), os.WSTOPSIG(status))
libc.ptrace(7, pid, None, int(signal.SIGKILL))
print(os.WTERMSIG(told(pid)), libc.waitpid(pid, None, 0), ctypes.get_errno())
"""

here = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="User-Mode Linux runs there alone"
)


def traced(guard: Path | None, *names: str) -> list[str]:
    env = {**os.environ, **({"LD_PRELOAD": str(guard)} if guard else {})}
    done = subprocess.run(
        [sys.executable, "-c", TRACER, *names],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@here
def test_stops_by_others_are_told_as_alarms(tmp_path: Path) -> None:
    guard = tmp_path / NAME
    guard.write_bytes(stop_guard())
    stops = ("SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT")
    first, *others, last = traced(guard, *stops, "SIGUSR1", "SIGCHLD", "SIGWINCH")
    assert first == str(int(signal.SIGSTOP))  # its own stop, at its start
    assert others == [
        *(f"{name} True {int(signal.SIGALRM)}" for name in stops),
        *(f"{name} True {int(getattr(signal, name))}" for name in ("SIGUSR1", "SIGCHLD", "SIGWINCH")),
    ]
    assert last == f"{int(signal.SIGKILL)} -1 10"  # ECHILD


@here
def test_without_it_they_are_told_as_they_are() -> None:
    """The other side: the tracer above is not blind."""
    assert traced(None, "SIGSTOP", "SIGCONT")[1:3] == ["SIGSTOP True 19", "SIGCONT True 18"]
