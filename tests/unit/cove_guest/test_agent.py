# SPDX-License-Identifier: Apache-2.0
"""The real agent: who may connect, what it says, what it survives."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cove.errors import GuestError
from cove.guest.client import GuestClient
from cove_guest import wire
from cove_guest.agent import Options
from tests.unit.cove_guest.agents import SOURCE, WAIT, Agent, until


def test_stage_names_the_uptime(agent: Agent) -> None:
    word, name, seconds = agent.console.read_text().splitlines()[0].split(" ")
    assert (word, name) == ("cove-stage", "agent")
    assert seconds.partition(".")[2].isdigit()
    assert float(seconds) > 0


def test_other_addresses_are_refused(agent: Agent) -> None:
    for port in (agent.control, agent.relay):
        with agent.dial(port, source="127.0.0.2") as connection:
            try:
                connection.sendall(wire.pack_json(wire.REQUEST, {"v": 1, "op": "hello", "args": {}}))
                answer = connection.recv(100)
            except ConnectionError:
                answer = b""
            assert answer == b""
    assert "refused a connection from 127.0.0.2" in agent.log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="SO_BINDTODEVICE asks for CAP_NET_RAW where an index is set")
def test_only_the_device_reaches_it(tmp_path: Path) -> None:
    agent = Agent(tmp_path, "--device", "lo")
    try:
        assert GuestClient(agent.address).call("hello")["protocol"] == 1
    finally:
        agent.close()


def test_imports_nothing_slow() -> None:
    """Each of these costs tens of milliseconds where there are no .pyc files."""
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import cove_guest.agent;"
        "print(*(set(sys.modules) & {'json', 're', 'enum', 'typing', 'socket', 'subprocess', 'asyncio',"
        " 'threading', 'argparse', 'logging', 'collections', 'ctypes', 'pathlib', 'contextlib'}))"
    )
    done = subprocess.run([sys.executable, "-E", "-s", "-S", "-c", code], capture_output=True, check=True)
    assert done.stdout == b"\n"


def test_hello(agent: Agent) -> None:
    hello = GuestClient(agent.address).call("hello")
    assert hello["kernel"] == os.uname().release
    assert hello["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_other_version_is_told_ours(agent: Agent) -> None:
    with agent.dial(agent.control) as connection:
        connection.sendall(wire.pack_json(wire.REQUEST, {"v": 99, "op": "exec", "args": {"argv": ["true"]}}))
        ((kind, payload),) = wire.Decoder().feed(connection.recv(65536))
    assert kind == wire.ERROR
    assert wire.unpack_json(payload)["code"] == "version"


def test_garbage_is_survived(agent: Agent) -> None:
    before = agent.descriptors()
    chance = random.Random(7)
    texts = [b"[]", b"{}", b'{"v":1}', b'{"v":1,"op":7}', b'{"v":1,"op":"exec","args":3}', b"{", b"\xff"]
    texts += [chance.randbytes(chance.randrange(40)) for _ in range(60)]
    attempts = [wire.pack(chance.choice((wire.REQUEST, wire.STDIN, wire.EXIT)), text) for text in texts]
    attempts += [b"\x01\xff\xff\xff\xff", b"\x00\x00\x00\x00\x00", b"GET / HTTP/1.1\r\n\r\n", *texts]
    for attempt in attempts:
        with agent.dial(agent.control) as connection:
            connection.sendall(attempt)
            connection.shutdown(1)
            try:
                while connection.recv(65536):
                    pass
            except ConnectionError:
                pass
    until(lambda: agent.descriptors() == before and agent.idle(), "the agent to let go")
    assert GuestClient(agent.address).call("hello")["protocol"] == wire.VERSION


@pytest.mark.parametrize(
    "frame",
    [
        wire.pack(wire.REQUEST, b"{}"),
        wire.pack(wire.RESIZE, b"{"),
        wire.pack_json(wire.RESIZE, {"rows": -1}),
        b"\x63\x00\x00\x00\x00",
        wire.pack(wire.STDIN, bytes(wire.LIMIT)) * 3,  # over the window
    ],
    ids=["second request", "no json", "no size", "no type", "window"],
)
def test_garbage_during_exec_ends_it(agent: Agent, frame: bytes) -> None:
    before = agent.descriptors()
    argv = ["sh", "-c", "exec sleep 60"]
    with agent.dial(agent.control) as connection:
        connection.sendall(wire.pack_json(wire.REQUEST, {"v": 1, "op": "exec", "args": {"argv": argv}}))
        ((kind, payload),) = wire.Decoder().feed(connection.recv(65536))
        assert kind == wire.EVENT
        pid = wire.unpack_json(payload)["started"]
        try:
            connection.sendall(frame)
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass
    until(lambda: not Path(f"/proc/{pid}").exists(), "the program to end")
    until(lambda: agent.descriptors() == before, "the agent to let go")


def test_request_in_pieces_with_early_input(agent: Agent) -> None:
    stream = wire.pack_json(wire.REQUEST, {"v": 1, "op": "exec", "args": {"argv": ["cat"]}})
    stream += wire.pack(wire.STDIN, b"early") + wire.pack(wire.EOF)
    with agent.dial(agent.control) as connection:
        connection.sendall(stream[:30])
        time.sleep(0.02)
        connection.sendall(stream[30:])
        decoder, kinds, out = wire.Decoder(), [], b""
        while data := connection.recv(65536):
            for kind, payload in decoder.feed(data):
                kinds.append(kind)
                out += payload if kind == wire.STDOUT else b""
    assert (out, kinds[0], kinds[-1]) == (b"early", wire.EVENT, wire.EXIT)


def test_many_at_once_leave_nothing(agent: Agent) -> None:
    before = agent.descriptors()
    client = GuestClient(agent.address, deadline=WAIT)
    outputs: list[bytes] = []

    def work(number: int) -> None:
        outputs.extend(client.exec(["echo", str(number)]).stdout for _ in range(4))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert sorted(outputs) == sorted(b"%d\n" % number for number in range(12) for _ in range(4))
    until(lambda: agent.descriptors() == before and agent.idle(), "the agent to let go")


def test_sigterm_hangs_up_what_runs(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    # dash reports the end of its sleep on stderr, which is a broken pipe by then
    script = "exec 2> /dev/null; trap 'echo hung > hung; exit' HUP; echo > started; "
    argv = ["sh", "-c", script + "while :; do sleep 0.05; done"]
    with agent.dial(agent.control) as connection:
        arguments = {"argv": argv, "cwd": str(tmp_path)}
        connection.sendall(wire.pack_json(wire.REQUEST, {"v": 1, "op": "exec", "args": arguments}))
        until((tmp_path / "started").exists, "the program to run")
        agent.close()
        until((tmp_path / "hung").exists, "the program to be hung up")


@pytest.mark.parametrize(("mode", "number"), [("poweroff", signal.SIGUSR2), ("reboot", signal.SIGTERM)])
def test_poweroff_tells_init(tmp_path: Path, mode: str, number: int) -> None:
    init = subprocess.Popen(["sleep", "60"])
    agent = Agent(tmp_path, "--init", str(init.pid))
    try:
        client = GuestClient(agent.address)
        with pytest.raises(GuestError, match="mode must be"):
            client.call("poweroff", mode="explode")
        assert client.call("poweroff", mode=mode, deadline=12) == {"ok": True}
        assert init.wait(WAIT) == -number
        assert (agent.run / "stop.deadline").read_text() == "12\n"
    finally:
        init.kill()
        init.wait(WAIT)
        agent.close()


def test_port_that_is_taken(tmp_path: Path, agent: Agent) -> None:
    argv = ["--address", "127.0.0.1", "--control", str(agent.control), "--console", str(tmp_path / "console")]
    done = subprocess.run(
        [sys.executable, str(SOURCE / "cove_guest"), *argv], capture_output=True, timeout=WAIT, check=False
    )
    assert (done.returncode, b"cannot serve" in done.stderr) == (1, True)


@pytest.mark.parametrize("argv", [["--nope", "1"], ["--peer"], ["peer", "1"]])
def test_bad_options(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="usage"):
        Options(argv)
