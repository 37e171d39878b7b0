# SPDX-License-Identifier: Apache-2.0
"""``cove run``: docker's own command line, with everything passing through."""

from __future__ import annotations

import itertools
import os
import platform
import signal

import pytest

from tests.integration.world import BUSYBOX, Home, Machine, talk, wait_until


def test_the_first_run_of_all_needs_nothing(home: Home) -> None:
    """One command makes the machine, starts it and runs the container."""
    done = home.cove("run", "--rm", BUSYBOX, "uname", "-a")
    guest = home.cove("shell", "uname", "-r").stdout.split()[0]
    assert done.stdout.startswith(b"Linux ")
    assert done.stdout.count(b"\n") == 1  # the container's output is the only thing on stdout
    assert guest in done.stdout
    assert platform.release().encode() not in done.stdout
    for stage in ("Created the machine default", "Booting the Linux kernel", "Starting Docker Engine"):
        assert stage in talk(done)
    pids = home.machine().processes()
    again = home.cove("run", "--rm", BUSYBOX, "true")
    assert talk(again) == ""
    assert home.machine().processes() == pids


def test_dockers_help_needs_no_machine(home: Home) -> None:
    assert b"Usage:  docker run [OPTIONS] IMAGE" in home.cove("run", "--help").stdout
    assert "requires at least 1 argument" in talk(home.cove("run", code=1))
    assert b"Docker version" in home.cove("docker", "--version").stdout
    assert home.names() == []


def test_the_kernel_is_the_guests(machine: Machine) -> None:
    kernel = machine.sh("uname -r").strip()
    assert kernel == machine.shell("uname", "-r").stdout.decode().strip()
    assert kernel != platform.release()
    assert machine.sh("cat /proc/sys/kernel/random/boot_id").strip() == machine.boot_id()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((BUSYBOX, "true"), 0),
        ((BUSYBOX, "sh", "-c", "exit 3"), 3),
        (("--no-such-option", BUSYBOX), 125),
        ((BUSYBOX, "/etc/passwd"), 126),
        ((BUSYBOX, "no-such-program"), 127),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_exit_codes_are_dockers(machine: Machine, args: tuple[str, ...], code: int) -> None:
    assert machine.run("--rm", *args, code=code).stdout == b""


def test_exit_codes_of_exec_are_dockers(uml: Machine) -> None:
    """crun's failures mean to the engine what runc's do; for a missing program engines differ (126, later 127)."""
    for runtime in ("crun", "runc"):
        uml.run("-d", "--runtime", runtime, "--name", f"exec-{runtime}", BUSYBOX, "sleep", "1000")
    try:
        for command, code in (("true", 0), ("false", 1), ("/etc/passwd", 126)):
            uml.docker("exec", "exec-crun", command, code=code)
        ours, theirs = (
            uml.docker("exec", f"exec-{runtime}", "no-such-program", code=None).returncode
            for runtime in ("crun", "runc")
        )
        assert ours == theirs
        assert ours in (126, 127)
    finally:
        uml.docker("rm", "-f", "exec-crun", "exec-runc")


def test_an_unknown_builtin_image_is_named(uml: Machine) -> None:
    done = uml.run("--rm", "cove.internal/nothing", code=None)
    assert done.returncode != 0
    assert "there is no built-in image cove.internal/nothing" in talk(done)
    assert "cove.internal/busybox" in talk(done)


def test_stdout_and_stderr_stay_apart(machine: Machine) -> None:
    done = machine.run("--rm", BUSYBOX, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_a_mebibyte_passes_through_stdin_and_stdout(machine: Machine) -> None:
    data = os.urandom(1 << 20)
    assert machine.run("--rm", "-i", BUSYBOX, "cat", stdin=data).stdout == data


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_container(uml: Machine, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 42' {name}; echo ready; while :; do sleep 0.1; done"
    with uml.home.begun("-m", "uml", "run", "--rm", BUSYBOX, "sh", "-c", script) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(number)
        rest, errors = child.communicate(timeout=60)
    assert rest == f"got {name}\n".encode(), errors
    assert child.returncode == 42


def test_a_terminal_is_a_terminal(machine: Machine) -> None:
    args = ("-m", machine.name, "run", "--rm", "-it", BUSYBOX, "sh")
    with machine.home.terminal(*args, rows=31, columns=97) as terminal:
        # the shell's own echo holds none of what is expected
        terminal.type("echo on $(tty), size $(stty size)\n")
        terminal.expect(r"on /dev/pts/0, size 31 97\r\n")
        columns = itertools.count(100)

        def resized() -> bool:  # docker begins to listen for it, and passes it on, behind our back
            wanted = next(columns)
            terminal.resize(40, wanted)
            terminal.type("sleep 0.3; echo size=$(stty size)\n")
            return terminal.expect(r"size=(\d+ \d+)\r\n")[1] == f"40 {wanted}"

        wait_until(resized, "the new size in the container")
        terminal.type("sh -c \"echo be''gin; exec sleep 1000\"\n")
        terminal.expect("begin\r\n")
        terminal.type("\x03")
        terminal.type("echo on''ward; exit 9\n")
        terminal.expect("onward\r\n")
        assert terminal.wait() == 9


def test_a_detached_container_goes_on(machine: Machine) -> None:
    name = machine.run("-d", "--name", "sleeper", BUSYBOX, "sleep", "1000").stdout.strip()
    assert len(name) == 64
    try:
        assert machine.docker("exec", "sleeper", "echo", "here").stdout == b"here\n"
        assert b"sleeper" in machine.docker("ps").stdout
    finally:
        machine.docker("rm", "-f", "sleeper")


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_both_runtimes_work(uml: Machine, runtime: str) -> None:
    assert uml.sh("echo $0", "--runtime", runtime) == "sh\n"


def test_containers_have_limits(uml: Machine) -> None:
    """Cgroup v2 does what docker promises."""
    limits = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"
    assert uml.sh(limits, "-m", "64m", "--pids-limit", "50") == "67108864\n50\n"
