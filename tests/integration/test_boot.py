# SPDX-License-Identifier: Apache-2.0
"""`cove boot` with guests that are nobody's: console, keys, ports, disks, exit codes, on both drivers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.guests import HELLO, GuestFiles, GuestMaker
from tests.integration.world import Home, wait_until

SLOW = 150.0
"""Seconds until an emulated kernel speaks on a busy host."""


@pytest.fixture(scope="module")
def maker(shared: Home) -> Iterator[GuestMaker]:
    maker = GuestMaker(shared)
    yield maker
    maker.close()


@pytest.fixture(params=["uml", "qemu"])
def guest(request: pytest.FixtureRequest, maker: GuestMaker) -> GuestFiles:
    found: GuestFiles = maker.uml if request.param == "uml" else maker.pc
    return found


def arguments(guest: GuestFiles) -> list[str]:
    """A guest by what its files' names begin with; emulated, so that a test host's KVM does not matter."""
    prefix = str(guest.kernel).removesuffix("-kernel")
    return ["boot", prefix, "--memory", "256", *(["--accel", "tcg"] if "pc" in guest.kernel.name else [])]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_console_ports_disks_and_power_off(home: Home, guest: GuestFiles, tmp_path: Path) -> None:
    port = free_port()
    more = ["--publish", f"{port}:80", "--disk", f"{tmp_path / 'd.img'},size=64M,format=raw"]
    with home.terminal(*arguments(guest), *more) as terminal:
        terminal.expect("disk: (vda|ubda) 131072", deadline=SLOW)
        terminal.expect("address: 192.168.127.2", deadline=SLOW)
        terminal.expect(HELLO, deadline=SLOW)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
            assert page.read() == b"a page of the guest\n"
        terminal.type("it is me\r")
        terminal.expect("you said: it is me")
        terminal.type("\x01a\x03\r")  # a Ctrl-A and a Ctrl-C of the guest's
        terminal.type("still here\r")
        terminal.expect("still here")
        terminal.type("poweroff\r")
        assert terminal.wait(SLOW) == 0
    assert (tmp_path / "d.img").stat().st_size == 64 << 20
    assert list((home.root / "b").iterdir()) == []


def test_ctrl_a_x_ends_it(home: Home, maker: GuestMaker) -> None:
    with home.terminal(*arguments(maker.uml), "--networking", "none") as terminal:
        terminal.expect(HELLO, deadline=SLOW)
        terminal.type("\x01h")
        terminal.expect("Ctrl-A x    end the guest")
        terminal.type("\x01x")
        assert terminal.wait() == 0
    assert list((home.root / "b").iterdir()) == []


def test_a_restart_restarts_it(home: Home, maker: GuestMaker) -> None:
    with home.terminal(*arguments(maker.uml)) as terminal:
        terminal.expect(HELLO, deadline=SLOW)
        terminal.type("reboot\r")
        terminal.expect(HELLO, deadline=SLOW)
        terminal.type("poweroff\r")
        assert terminal.wait(SLOW) == 0
    with home.terminal(*arguments(maker.uml), "--networking", "none", "--no-reboot") as terminal:
        terminal.expect(HELLO, deadline=SLOW)
        terminal.type("reboot\r")
        assert terminal.wait(SLOW) == 0


def test_a_panic_is_a_failure(home: Home, maker: GuestMaker) -> None:
    done = home.cove(
        *arguments(maker.uml), "--networking", "none", "--cmdline", "quiet panic=-1 then=panic", code=1
    )
    assert b"kernel panicked" in done.stderr


def test_a_signal_ends_it_and_leaves_nothing(home: Home, maker: GuestMaker) -> None:
    with home.begun(*arguments(maker.uml)) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if HELLO.encode() in line:
                break
        below = children(child.pid)
        assert len(below) >= 2
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 128 + signal.SIGTERM
        wait_until(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()], "its children's end")
    assert list((home.root / "b").iterdir()) == []


def test_what_a_killed_boot_left_is_cleared_by_the_next(home: Home, maker: GuestMaker) -> None:
    with home.begun(*arguments(maker.uml), stdin=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if HELLO.encode() in line:
                break
        below = children(child.pid)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        wait_until(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()], "its children's end")
    assert len(list((home.root / "b").iterdir())) == 1
    home.cove(*arguments(maker.uml), "--networking", "none", "--cmdline", "quiet then=poweroff")
    assert list((home.root / "b").iterdir()) == []


def test_a_guest_opens_no_ports_of_the_host(home: Home, guest: GuestFiles) -> None:
    published, wanted = free_port(), free_port()
    with home.terminal(*arguments(guest), "-p", f"{published}:80") as terminal:
        terminal.expect(HELLO, deadline=SLOW)
        body = json.dumps({"local": f"127.0.0.1:{wanted}", "remote": "192.168.127.2:80"})
        url = "http://192.168.127.1/services/forwarder"
        terminal.type(f"do wget -qO- {url}/all\r")
        terminal.expect(f"127.0.0.1:{published}")  # gvproxy does listen to the guest
        terminal.expect("done: 0")
        terminal.type(f"do wget -qO- --post-data '{body}' {url}/expose\r")
        terminal.expect("done: 1")
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", wanted)) != 0
        with urllib.request.urlopen(f"http://127.0.0.1:{published}/", timeout=60) as page:
            assert page.read() == b"a page of the guest\n"
        terminal.type("poweroff\r")
        assert terminal.wait(SLOW) == 0


def test_a_port_that_is_taken(home: Home, maker: GuestMaker) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = home.cove(*arguments(maker.uml), "-p", f"{taken.getsockname()[1]}:80", code=1)
    assert b"is taken on this host" in done.stderr


def children(pid: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found + [below for one in found for below in children(one)]
