# SPDX-License-Identifier: Apache-2.0
"""``cove shell``: inside the guest itself."""

from __future__ import annotations

import os

import pytest

from tests.integration.world import Home, Machine, wait_until


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes(uml: Machine, code: int) -> None:
    uml.shell("sh", "-c", f"exit {code}", code=code)


def test_a_command_that_is_not_there(machine: Machine) -> None:
    assert machine.shell("no-such-program", code=127).stdout == b""


def test_a_signal_ends_as_in_a_shell(machine: Machine) -> None:
    machine.shell("sh", "-c", "kill -TERM $$", code=143)


def test_stdin_stdout_and_stderr(machine: Machine) -> None:
    data = os.urandom(1 << 20)
    assert machine.shell("cat", stdin=data).stdout == data
    done = machine.shell("sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_words_stay_words(uml: Machine) -> None:
    words = ["two words", "'single'", '"double"', "$HOME", "a;b", "", "ünï", "*", "-x", "new\nline"]
    done = uml.shell("python3", "-c", "import sys; print(sys.argv[1:])", *words)
    assert done.stdout.decode() == f"{words}\n"


def test_a_double_dash_ends_our_options(uml: Machine) -> None:
    assert uml.home.cove("shell", "-m", uml.name, "--", "echo", "-m", "x").stdout == b"-m x\n"


def test_it_is_root_beside_the_engine(machine: Machine) -> None:
    assert machine.shell("id", "-u").stdout == b"0\n"
    assert machine.shell("test", "-S", "/run/docker.sock").stdout == b""
    assert b" erofs ro" in machine.shell("cat", "/proc/mounts").stdout
    assert machine.shell("touch", "/usr/bin/new", code=1).returncode == 1


def test_a_shell_in_a_terminal(machine: Machine) -> None:
    with machine.home.terminal("-m", machine.name, "shell", rows=33, columns=101) as terminal:
        terminal.type("echo size=$(stty size) on $(tty)\n")
        terminal.expect(r"size=33 101 on /dev/pts/\d+\r\n")
        terminal.resize(44, 111)

        def resized() -> bool:
            terminal.type("echo size=$(stty size)\n")
            return terminal.expect(r"size=(\d+ \d+)\r\n")[1] == "44 111"

        wait_until(resized, "the new size in the guest")
        terminal.type("exit 5\n")
        assert terminal.wait() == 5


def test_ctrl_c_goes_to_the_guest(uml: Machine) -> None:
    with uml.home.terminal("-m", uml.name, "shell", "sh", "-c", "echo begun; exec sleep 1000") as terminal:
        terminal.expect("begun")
        terminal.type("\x03")
        assert terminal.wait() == 130


def test_a_closed_window_ends_the_command(uml: Machine) -> None:
    with uml.home.terminal("-m", uml.name, "shell", "sh", "-c", "echo begun; exec sleep 4321") as terminal:
        terminal.expect("begun")
        terminal.hang_up()
        assert terminal.wait() != 0

    def gone() -> bool:
        return b"sleep 4321" not in uml.shell("ps", "-o", "args").stdout

    wait_until(gone, "the end of the command in the guest")


def test_it_starts_the_machine(home: Home) -> None:
    home.cove("create", "--driver", "uml")
    assert home.cove("shell", "echo", "here").stdout == b"here\n"
    assert home.machine().inspect()["status"] == "running"
