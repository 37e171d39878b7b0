# SPDX-License-Identifier: Apache-2.0
"""The client against the real agent."""

from __future__ import annotations

import contextlib
import os
import pty
import pwd
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from cove.errors import DeadlineError, GuestError
from cove.guest.client import GuestClient
from tests.unit.cove_guest.agents import SOURCE, WAIT, Agent, UnixServer, docker, until

RUN = """
import sys
sys.path.insert(0, {source!r})
from cove.guest.client import GuestClient
sys.exit(GuestClient({address!r}).interactive({argv!r}, tty={tty!r}))
"""


@pytest.fixture
def client(agent: Agent) -> GuestClient:
    return GuestClient(agent.address, deadline=WAIT)


def ours(agent: Agent, *argv: str, tty: bool | None = None) -> list[str]:
    """The command line of a process of ours that runs ``argv`` in the guest."""
    code = RUN.format(source=str(SOURCE), address=agent.address, argv=list(argv), tty=tty)
    return [sys.executable, "-c", code]


def gone(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_output_and_code(client: GuestClient) -> None:
    result = client.exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")


def test_environment_folder_and_user(client: GuestClient, tmp_path: Path) -> None:
    result = client.exec(["sh", "-c", "pwd; echo $A $HOME"], env={"A": "b c"}, cwd="/tmp")
    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert result.stdout == f"/tmp\nb c {home}\n".encode()
    if os.geteuid() == 0:
        assert client.exec(["id", "-un"], user="nobody").stdout == b"nobody\n"
        assert client.exec(["sh", "-c", "id -u; id -g"], user="12345:54321").stdout == b"12345\n54321\n"
    with pytest.raises(GuestError, match="no user nosuch") as caught:
        client.exec(["id"], user="nosuch")
    assert caught.value.code == "no-user"


def test_bytes_that_are_no_text(client: GuestClient) -> None:
    assert client.exec(["printf", "%s", os.fsdecode(b"\xff\xc3")]).stdout == b"\xff\xc3"


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["no-such-program"], 127, b"not found"),
        (["/etc/passwd"], 126, b"ermission denied"),
        (["/tmp"], 126, b"ermission denied"),
        (["/no/such/file"], 127, b"not found"),
    ],
)
def test_what_cannot_be_executed(client: GuestClient, argv: list[str], code: int, said: bytes) -> None:
    result = client.exec(argv)
    assert result.code == code
    assert said in result.stderr
    assert result.stderr.startswith(b"cove: ")


def test_folder_that_is_not_there(client: GuestClient) -> None:
    result = client.exec(["true"], cwd="/no/such")
    assert (result.code, b"/no/such" in result.stderr) == (126, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_ended_by_a_signal(client: GuestClient, number: int) -> None:
    assert client.exec(["sh", "-c", f"kill -{number} $$"]).code == 128 + number


def test_broken_pipe_is_not_ignored_in_the_guest(client: GuestClient) -> None:
    assert client.exec(["sh", "-c", "yes | head -n 1; echo done"]).stdout == b"y\ndone\n"


def test_five_mebibytes_through_cat(client: GuestClient) -> None:
    data = os.urandom(5 << 20)
    assert client.exec(["cat"], stdin=data).stdout == data


def test_input_that_nobody_reads(client: GuestClient, agent: Agent) -> None:
    before = agent.descriptors()
    assert client.exec(["true"], stdin=bytes(5 << 20)).code == 0
    assert client.exec(["head", "-c", "3"], stdin=b"abc" * (2 << 20)).stdout == b"abc"
    until(lambda: agent.descriptors() == before, "the agent to close everything")


def test_background_process_does_not_hold_the_session(client: GuestClient) -> None:
    begun = time.monotonic()
    result = client.exec(["sh", "-c", "sleep 30 & echo $!"])
    assert time.monotonic() - begun < 10
    os.kill(int(result.stdout), signal.SIGKILL)


def test_deadline_ends_the_program(client: GuestClient, agent: Agent) -> None:
    before = agent.descriptors()
    mark = f"{os.getpid()}.5"
    with pytest.raises(DeadlineError, match="did not finish sleep"):
        client.exec(["sleep", mark], deadline=0.5)
    until(lambda: agent.descriptors() == before, "the agent to end it")
    assert subprocess.run(["pgrep", "-f", f"sleep {mark}"], check=False, capture_output=True).stdout == b""


def test_refusals(client: GuestClient) -> None:
    with pytest.raises(GuestError, match="knows no operation") as caught:
        client.call("no-such")
    assert caught.value.code == "unknown-op"
    with pytest.raises(GuestError, match="argv must be") as caught:
        client.exec([])
    assert caught.value.code == "bad-argument"


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(GuestError) as caught:
        GuestClient(tmp_path / "agent.sock").call("hello")
    assert caught.value.code == "unreachable"


def test_gvproxy_takes_the_connection_and_drops_it(tmp_path: Path) -> None:
    """What its unix forward does while the guest has no listener."""
    server = UnixServer(tmp_path / "agent.sock", lambda _connection: None)
    try:
        client = GuestClient(tmp_path / "agent.sock")
        with pytest.raises(GuestError) as caught:
            client.call("hello")
        assert caught.value.code == "unreachable"
        with pytest.raises(GuestError) as caught:
            client.exec(["true"])
        assert caught.value.code == "unreachable"
    finally:
        server.close()


def test_silent_agent_meets_the_deadline(tmp_path: Path) -> None:
    leave = threading.Event()

    def say_nothing(_connection: socket.socket) -> None:
        leave.wait(WAIT)

    server = UnixServer(tmp_path / "agent.sock", say_nothing)
    try:
        with pytest.raises(DeadlineError, match="hello"):
            GuestClient(tmp_path / "agent.sock", deadline=0.2).call("hello")
    finally:
        leave.set()
        server.close()


def test_engine_of_the_agent(client: GuestClient, agent: Agent) -> None:
    with pytest.raises(GuestError) as caught:
        client.call("wait_engine", deadline=0.2)
    assert caught.value.code == "deadline"
    waiting = threading.Thread(target=client.call, args=("wait_engine",), kwargs={"deadline": WAIT})
    waiting.start()
    server = UnixServer(agent.engine, docker)
    try:
        waiting.join(WAIT)
        assert not waiting.is_alive()
        assert client.call("engine") == {
            "version": {"Version": "26.1.5", "ApiVersion": "1.45"},
            "info": {"Containers": 2, "Driver": "overlay2"},
        }
        until(lambda: agent.stages() == ["agent", "dockerd", "engine"], "the stage engine")
    finally:
        server.close()


def test_our_streams_pass_through(agent: Agent) -> None:
    done = subprocess.run(
        ours(agent, "sh", "-c", "cat; echo err >&2; exit 5"),
        input=b"a\0b",
        capture_output=True,
        timeout=WAIT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, b"a\0b", b"err\n")


def test_large_output_to_a_slow_reader(agent: Agent) -> None:
    process = subprocess.Popen(ours(agent, "head", "-c", "8000000", "/dev/zero"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    time.sleep(0.5)
    assert len(process.stdout.read()) == 8000000
    process.stdout.close()
    assert process.wait(WAIT) == 0


def test_reader_that_leaves_ends_the_program(agent: Agent) -> None:
    process = subprocess.Popen(ours(agent, "sh", "-c", "echo $$; exec yes"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.stdout.close()
    assert process.wait(WAIT) == 128 + signal.SIGPIPE
    until(lambda: gone(pid), "yes to end")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_are_passed_on(agent: Agent, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo caught; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        ours(agent, "sh", "-c", script), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == b"caught\n"
    assert process.wait(WAIT) == 7


def test_signal_is_not_stuck_behind_input(agent: Agent) -> None:
    process = subprocess.Popen(
        ours(agent, "sh", "-c", "echo ready; exec sleep 60"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.set_blocking(process.stdin.fileno(), False)
    sent = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:  # far more than pipes, window and sockets hold
        with contextlib.suppress(BlockingIOError):
            sent += os.write(process.stdin.fileno(), bytes(65536))
    assert sent >= 1 << 20
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT) == 128 + signal.SIGTERM
    process.stdin.close()
    process.stdout.close()


def test_killed_client_takes_its_program_along(agent: Agent) -> None:
    before = agent.descriptors()
    script = "trap '' HUP; echo $$; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        ours(agent, "sh", "-c", script), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout:
        pid = int(process.stdout.readline())
    process.kill()
    process.wait(WAIT)
    until(lambda: gone(pid), "the program to be killed, as it ignores SIGHUP")
    until(lambda: agent.descriptors() == before and agent.idle(), "the agent to let go")


class Terminal:
    """A process of ours on a terminal that the test holds."""

    def __init__(self, argv: list[str], rows: int, cols: int) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(rows, cols)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *argv], stdin=self.slave, stdout=self.slave, stderr=self.slave,
        )  # fmt: skip
        self.seen = b""

    def resize(self, rows: int, cols: int) -> None:
        ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def expect(self, text: bytes) -> None:
        end = time.monotonic() + WAIT
        while text not in self.seen:
            assert select.select([self.master], [], [], max(0, end - time.monotonic()))[0], self.seen
            self.seen += os.read(self.master, 65536)
        self.seen = self.seen.partition(text)[2]

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    def end(self) -> int:
        code = self.process.wait(WAIT)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal was not restored"
        os.close(self.master)
        os.close(self.slave)
        return code


def test_terminal_size_resize_and_interrupt(agent: Agent) -> None:
    script = "stty size; trap 'stty size' WINCH; trap 'echo int' INT; tty; echo ready; "
    script += "while :; do sleep 0.05; done"
    terminal = Terminal(ours(agent, "sh", "-c", script), 31, 101)
    terminal.expect(b"31 101\r\n")
    terminal.expect(b"/dev/pts/")
    terminal.expect(b"ready")
    terminal.resize(42, 99)
    terminal.expect(b"42 99\r\n")
    terminal.send(b"\x03")
    terminal.expect(b"int\r\n")
    terminal.send(b"\x1c")  # Ctrl-\
    assert terminal.end() == 128 + signal.SIGQUIT


def test_terminal_shell_with_jobs(agent: Agent) -> None:
    terminal = Terminal(ours(agent, "bash", "--norc", "-i"), 24, 80)
    terminal.send(b"sh -c 'echo sta\"\"rted $TERM; exec sleep 100'\r")
    terminal.expect(b"started ")
    terminal.send(b"\x1a")  # Ctrl-Z
    terminal.expect(b"Stopped")
    terminal.send(b"kill -9 %1\rexit 9\rexit 9\r")  # bash refuses the first while it knows of a stopped job
    assert terminal.end() == 9


def test_terminal_is_restored_when_we_are_told_to_end(agent: Agent) -> None:
    terminal = Terminal(ours(agent, "sh", "-c", "echo pid=$$.; exec cat"), 24, 80)
    terminal.expect(b"pid=")
    terminal.expect(b".")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 128 + signal.SIGTERM


def test_terminal_without_ours(agent: Agent) -> None:
    done = subprocess.run(
        ours(agent, "sh", "-c", "stty size; cat", tty=True),
        input=b"x\n",
        capture_output=True,
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 0
    assert b"24 80\r\n" in done.stdout


def test_agent_that_dies_meanwhile(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    failed: list[GuestError] = []

    def attempt() -> None:
        try:
            GuestClient(agent.address, deadline=WAIT).exec(
                ["sh", "-c", "echo > started; exec sleep 60"], cwd=str(tmp_path)
            )
        except GuestError as error:
            failed.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    until((tmp_path / "started").exists, "the program to run")
    agent.close()
    thread.join(WAIT)
    assert "connection to the guest was lost" in failed[0].message


def test_socket_path_and_address_reach_the_same(agent: Agent, tmp_path: Path) -> None:
    def forward(connection: socket.socket) -> None:
        with agent.dial(agent.control) as onward:
            onward.sendall(connection.recv(65536))
            while data := onward.recv(65536):
                connection.sendall(data)

    server = UnixServer(tmp_path / "agent.sock", forward)
    try:
        assert GuestClient(tmp_path / "agent.sock").call("hello")["protocol"] == 1
    finally:
        server.close()
