# SPDX-License-Identifier: Apache-2.0
"""Real processes: started, watched, ended, and never mistaken for one another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cove.errors import CommandError, DeadlineError, ToolError
from cove.system import process
from cove.system.process import OUTPUT_TAIL, Command, Identity, detach, run

SOURCE = Path(__file__).resolve().parents[3] / "src"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this")


def sh(script: str, *arguments: str, **env: str) -> Command:
    return Command(("/bin/sh", "-c", script, "sh", *arguments), env)


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"waited 20 s for {what}"
        time.sleep(0.01)


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(SOURCE)!r})\n{code}", *arguments]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield child
    child.kill()
    child.wait()


def test_more_arguments_make_another_command() -> None:
    one = Command(("a", "b"), {"X": "1"})
    assert one.with_args("c", "d") == Command(("a", "b", "c", "d"), {"X": "1"})
    assert one.argv == ("a", "b")


def test_run_gives_output_and_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "ours")
    script = 'read line; echo "$line $X $OURS $(pwd)"; echo complaint >&2'
    done = run(sh(script, X="theirs"), doing="testing", deadline=10, stdin=b"hello\n", cwd=tmp_path)
    assert done.stdout.decode() == f"hello theirs ours {tmp_path.resolve()}\n"
    assert done.stderr == b"complaint\n"


def test_run_gives_no_input_by_default() -> None:
    assert run(["cat"], doing="testing", deadline=10).stdout == b""


def test_run_tells_what_failed() -> None:
    with pytest.raises(CommandError, match="testing failed") as caught:
        run(sh("echo out; echo err >&2; exit 7"), doing="testing", deadline=10)
    assert caught.value.returncode == 7
    assert caught.value.argv[:2] == ["/bin/sh", "-c"]
    assert (caught.value.details or "").endswith("(exit code 7)\nout\nerr")


def test_run_keeps_the_end_of_long_output() -> None:
    with pytest.raises(CommandError) as caught:
        run(
            sh("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; exit 1"),
            doing="x",
            deadline=20,
        )
    assert len(caught.value.output) == OUTPUT_TAIL
    assert caught.value.output.endswith("line 1999\n")


def test_run_tells_the_signal() -> None:
    with pytest.raises(CommandError) as caught:
        run(sh("kill -9 $$"), doing="x", deadline=10)
    assert caught.value.returncode == -9
    assert "(signal 9)" in (caught.value.details or "")


def test_run_has_a_deadline(tmp_path: Path) -> None:
    with pytest.raises(DeadlineError, match="napping: sleep did not end within 0 s") as caught:
        run(["sleep", "60"], doing="napping", deadline=0.2)
    assert caught.value.details == "sleep 60"


STARTS: dict[str, Callable[[Command, Path], object]] = {
    "run": lambda command, _folder: run(command, doing="x", deadline=1),
    "detach": lambda command, folder: detach(command, log=folder / "log"),
    "replace": lambda command, _folder: process.replace(command),
}


@pytest.mark.parametrize("start", STARTS)
def test_a_missing_program_is_named(start: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="/nonexistent/program cannot be started: No such file"):
        STARTS[start](Command(("/nonexistent/program",), {}), tmp_path)


def test_replace_becomes_the_program() -> None:
    code = """
from cove.system.process import Command, replace
print("before")
replace(Command(("/bin/sh", "-c", 'echo "$X"; exit 5'), {"X": "after"}))
"""
    done = subprocess.run(python(code), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (5, "before\nafter\n", "")


def test_programs_die_of_a_closed_pipe_as_elsewhere() -> None:
    """We do not, and what a program ignores its successors and children ignore."""
    command = 'Command(("/bin/sh", "-c", "kill -PIPE $$; echo survived"), {})'
    start = "import sys; from cove.system.process import Command, foreground, replace;"
    for use in (f"replace({command})", f"sys.exit(foreground({command}))"):
        done = subprocess.run(python(start + use), capture_output=True, text=True, check=False)
        assert done.stdout == ""
        assert done.returncode in (-signal.SIGPIPE, 128 + signal.SIGPIPE)


@linux
def test_identity_is_pid_and_start(sleeper: subprocess.Popen[bytes]) -> None:
    identity = Identity.of(sleeper.pid)
    assert identity is not None
    assert identity.alive()
    later = Identity(identity.pid, str(int(identity.started) + 1))  # what a reused pid looks like
    assert not later.alive()
    later.signal_group(signal.SIGKILL)
    assert later.wait_gone(0)
    assert identity.alive()
    assert not identity.wait_gone(0.05)
    identity.signal_group(signal.SIGTERM)
    sleeper.wait()
    assert identity.wait_gone(5)
    assert Identity.of(identity.pid) is None
    identity.signal_group(signal.SIGTERM)


@linux
def test_a_zombie_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    identity = Identity.of(sleeper.pid)
    assert identity is not None
    sleeper.kill()
    assert identity.wait_gone(10)  # though nobody has asked for its exit code yet
    assert Identity.of(sleeper.pid) is None


@linux
def test_names_with_brackets_and_spaces_do_not_confuse(tmp_path: Path) -> None:
    link = tmp_path / "a) S 1 (b"
    link.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(link), "60"])
    until(lambda: Path(f"/proc/{child.pid}/comm").read_text().startswith("a) S"), "exec")
    identity = Identity.of(child.pid)
    assert identity is not None
    assert identity.started.isdigit()
    child.kill()
    child.wait()


def test_a_pid_that_nobody_has() -> None:
    assert Identity.of(2**22 + 1) is None
    assert Identity(2**22 + 1, "1").wait_gone(0)


@linux
@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="needs ps")
def test_identity_where_there_is_no_proc(sleeper: subprocess.Popen[bytes]) -> None:
    found = Identity._without_proc(sleeper.pid)
    assert found is not None
    assert found.started
    assert Identity._without_proc(2**22 + 1) is None


def test_waiting_without_pidfd(sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    identity = Identity.of(sleeper.pid)
    assert identity is not None
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert not identity.wait_gone(0.05)
    sleeper.kill()
    assert identity.wait_gone(10)


def test_a_signal_reaches_the_whole_group(tmp_path: Path) -> None:
    leader = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 60 & echo $!; wait"],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert leader.stdout is not None
    grandchild = Identity.of(int(leader.stdout.readline()))
    identity = Identity.of(leader.pid)
    assert grandchild is not None
    assert identity is not None
    identity.signal_group(signal.SIGKILL)
    assert grandchild.wait_gone(10)
    leader.communicate()


def test_one_that_leads_no_group_is_left_alone() -> None:
    child = subprocess.Popen(["sleep", "60"])  # in our own group, so there is none of its number
    identity = Identity.of(child.pid)
    assert identity is not None
    identity.signal_group(signal.SIGTERM)
    assert identity.alive()
    child.kill()
    child.wait()


def test_our_own_age_grows(tmp_path: Path) -> None:
    code = "from cove.system.process import own_age; import time; time.sleep(0.3); print(own_age())"
    age = float(run([sys.executable, "-c", code], doing="asking", deadline=60).stdout)
    assert age >= (0.28 if sys.platform == "linux" else 0)


def test_detached_survives_its_parent(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from cove.system.process import Command, detach
script = "echo said; echo complained >&2; pwd; exec sleep 60"
print(detach(Command(("/bin/sh", "-c", script), {}), log=Path(sys.argv[1])))
"""
    log = tmp_path / "log"
    done = subprocess.run(python(code, str(log)), capture_output=True, text=True, check=True)
    identity = Identity.of(int(done.stdout))
    assert identity is not None
    until(lambda: log.read_text().count("\n") == 3, "its words")
    assert log.read_text() == "said\ncomplained\n/\n"
    assert os.getsid(identity.pid) == identity.pid
    assert log.stat().st_mode & 0o777 == 0o600
    identity.signal_group(signal.SIGKILL)
    assert identity.wait_gone(10)


def test_detached_inherits_descriptors_and_is_reaped(tmp_path: Path) -> None:
    outlet, inlet = os.pipe()
    pid = detach(sh(f"echo through > /dev/fd/{inlet}"), log=tmp_path / "log", pass_fds=[inlet])
    os.close(inlet)
    with os.fdopen(outlet) as stream:
        assert stream.read() == "through\n"
    until(lambda: not Path(f"/proc/{pid}").exists(), "it to be reaped")


def test_foreground_gives_the_exit_code_as_a_shell_does() -> None:
    assert process.foreground(Command(("/bin/sh", "-c", "exit 3"), {})) == 3
    assert process.foreground(Command(("/bin/sh", "-c", "kill -TERM $$"), {})) == 143
    with pytest.raises(ToolError, match="cannot be started"):
        process.foreground(Command(("/no/such",), {}))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_foreground_outlives_what_it_passes_on(tmp_path: Path, number: int, code: int) -> None:
    script = (
        "import sys; from cove.system.process import Command, foreground;"
        "code = foreground(Command(('/bin/sh', '-c', 'echo begun; exec sleep 60'), {}));"
        "print('cleaned up after', code)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        child.send_signal(signal.SIGINT)  # the terminal's own go to the program by themselves
        child.send_signal(number)
        assert child.stdout.read() == f"cleaned up after {code}\n"
        assert child.wait(20) == 0
