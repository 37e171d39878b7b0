# SPDX-License-Identifier: Apache-2.0
"""A process that goes on apart: its own session, no descriptor too many, its end in its log."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from cove.system.branch import can_branch

SCRIPT = """
import os, signal, sys
from pathlib import Path
from cove.system.branch import branch

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
other = os.open(os.devnull, os.O_RDONLY)
reading, writing = os.pipe()
log, how = Path(sys.argv[1]), sys.argv[2]

def work():
    here = [one for one in range(100) if os.path.exists(f"/proc/self/fd/{one}")]
    said = [os.getsid(0) == os.getpid(), os.getcwd(), here == [0, 1, 2, writing],
            signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN, os.read(0, 1)]
    os.write(writing, repr(said).encode())
    if how == "fails":
        raise ValueError("a reason")
    if how == "leaves":
        sys.exit(3)

print("before", flush=False)
pid = branch(work, log=log, keep=[writing])
os.close(writing)
print(os.read(reading, 1000).decode())
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def branched(log: Path, how: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(log), how], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_it_lives_apart(tmp_path: Path) -> None:
    said = branched(tmp_path / "log", "ends")
    assert said == ["before", str([True, "/", True, True, b""]), "0"]
    assert (tmp_path / "log").read_text() == ""
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_its_failure_is_in_its_log_and_its_exit_code(tmp_path: Path) -> None:
    assert branched(tmp_path / "log", "fails")[-1] == "1"
    assert "ValueError: a reason" in (tmp_path / "log").read_text()
    assert branched(tmp_path / "log", "leaves")[-1] == "3"


def test_a_process_with_threads_does_not_branch() -> None:
    held = threading.Event()
    other = threading.Thread(target=held.wait)
    other.start()
    try:
        assert not can_branch()
    finally:
        held.set()
        other.join()
    alone = "from cove.system.branch import can_branch; print(can_branch())"
    assert subprocess.run([sys.executable, "-c", alone], capture_output=True, check=True).stdout == b"True\n"
