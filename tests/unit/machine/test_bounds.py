# SPDX-License-Identifier: Apache-2.0
"""What is left to a child of the supervisor, with real processes in its bounds: Python where a VMM would be."""

from __future__ import annotations

import errno
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cove.machine.bounds import network_bounds, share_bounds, vmm_bounds
from cove.machine.plan import LaunchPlan
from cove.spec.shares import Share
from cove.system import seccomp
from cove.system.children import spawn
from cove.system.confine import Confinement, landlock_abi
from cove.system.paths import MachinePaths
from cove.system.process import Command
from tests.unit.machine.world import make_plan

pytestmark = pytest.mark.skipif(
    not seccomp.available() or landlock_abi() < 4, reason="this host's kernel cannot"
)

PYTHON = Path(sys.executable).resolve()
SYSTEM = (*(Path(place) for place in ("/usr", "/lib", "/lib64", "/bin")), PYTHON.parents[1], Path(sys.prefix))
REFUSED, SEALED = errno.EPERM, errno.ENOSYS

ATTEMPTS = r"""
import ctypes, errno, os, socket, sys
folder, secret, engine, port, writable = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *words):
    if libc.syscall(ctypes.c_long(number), *(ctypes.c_long(word) for word in words)) < 0:
        raise OSError(ctypes.get_errno(), "")
def listen(family, kind, address):
    with socket.socket(family, kind) as one:
        one.bind(address)
def connect(family, kind, address):
    with socket.socket(family, kind) as one:
        one.connect(address)
attempts = {
    "tcp": lambda: listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
    "udp": lambda: listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
    "unix": lambda: listen(socket.AF_UNIX, socket.SOCK_STREAM, writable + "/new.sock"),
    "dial-tcp": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port)),
    "dial-udp": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port)),
    "dial-unix": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, engine),
    "read-secret": lambda: os.close(os.open(secret, os.O_RDONLY)),
    "make": lambda: os.close(os.open(writable + "/new", os.O_WRONLY | os.O_CREAT)),
    "read-own": lambda: os.close(os.open(writable + "/there", os.O_RDONLY)),
    "remove": lambda: os.unlink(writable + "/there"),
    "user-namespace": lambda: call(272, 0x10000000),
    "fork-with-namespace": lambda: call(56, 0x10000000 | 17),
    "mount": lambda: call(165, 0, 0, 0, 0, 0),
    "io-uring": lambda: call(425, 1, 0),
    "bpf": lambda: call(321, 0, 0, 0),
    "read-parent": lambda: call(310, os.getppid(), 0, 0, 0, 0, 0),
    "device": lambda: os.mknod(writable + "/device", 0o020600, os.makedev(1, 3)),
    "signal": lambda: os.kill(os.getppid(), 0),
}
sys.stdin.close()
sys.stdout.write("ready\n"); sys.stdout.flush()
os.read(int(sys.argv[6]), 1)
for name, attempt in attempts.items():
    try:
        attempt()
        print(name, 0)
    except OSError as error:
        print(name, error.errno)
"""


async def attempts(tmp_path: Path, bounds: Confinement, writable: Path) -> dict[str, int]:
    """What a sealed process in these bounds can do, as the number of its error or 0."""
    secret = tmp_path / "secret"
    secret.write_text("s")
    (writable / "there").write_text("t")
    inlet, outlet = os.pipe()
    with (
        socket.socket(socket.AF_UNIX) as engine,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        engine.bind(str(tmp_path / "engine.sock"))
        engine.listen()
        words = (str(tmp_path), str(secret), str(tmp_path / "engine.sock"), str(server.getsockname()[1]))
        command = Command((sys.executable, "-c", ATTEMPTS, *words, str(writable), str(inlet)), {})
        # the program is another than the bounds were made for
        bounds = replace(bounds, read=(*bounds.read, *SYSTEM))
        child = await spawn(
            command, name="x", stdout_pipe=True, merge_stderr=True, pass_fds=[inlet], confinement=bounds
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        child.seal()
        os.write(outlet, b"\n")
        said = (await child.stdout.read()).decode()
        assert await child.wait() == 0, said
    os.close(inlet)
    os.close(outlet)
    return {name: int(number) for name, number in (line.split() for line in said.splitlines())}


NEVER = {
    "read-secret": errno.EACCES,
    "user-namespace": REFUSED,
    "fork-with-namespace": REFUSED,
    "mount": REFUSED,
    "io-uring": REFUSED,
    "bpf": REFUSED,
    "read-parent": REFUSED,
    "device": REFUSED,
    **({"signal": errno.EPERM} if landlock_abi() >= 6 else {}),
}
"""What no child may do at any time."""


@pytest.fixture
def paths(tmp_path: Path) -> MachinePaths:
    found = MachinePaths(tmp_path / "m")
    for folder in (found.net_dir, found.vm_dir):
        folder.mkdir(parents=True)
    return found


def with_tools(paths: MachinePaths) -> LaunchPlan:
    tool = Command(("/tools/x/usr/bin/x",), {})
    return replace(make_plan(paths), tools={"gvproxy": tool, "virtiofsd": tool})


async def test_gvproxy_dials_and_does_nothing_else(tmp_path: Path, paths: MachinePaths) -> None:
    bounds = network_bounds(with_tools(paths), paths)
    found = await attempts(tmp_path, bounds, paths.net_dir)
    assert found == found | NEVER
    assert {name: number for name, number in found.items() if name not in NEVER and name != "signal"} == {
        "dial-tcp": 0, "dial-udp": 0, "read-own": 0,
        "tcp": SEALED, "udp": SEALED, "unix": SEALED, "dial-unix": SEALED, "make": SEALED, "remove": SEALED,
    }  # fmt: skip


async def test_a_vmm_makes_no_socket_once_its_guest_has_booted(tmp_path: Path, paths: MachinePaths) -> None:
    plan = with_tools(paths)
    memory = tmp_path / "memory"
    memory.mkdir()
    bounds = vmm_bounds(plan, paths, plan.tools["gvproxy"], memory)
    found = await attempts(tmp_path, bounds, paths.vm_dir)
    assert found == found | NEVER
    sockets = ("tcp", "udp", "unix", "dial-tcp", "dial-udp", "dial-unix")
    assert {name: found[name] for name in sockets} == dict.fromkeys(sockets, SEALED)
    assert (found["make"], found["read-own"], found["remove"]) == (0, 0, 0)


async def test_a_share_daemon_has_its_folder_alone(tmp_path: Path, paths: MachinePaths) -> None:
    share = tmp_path / "share"
    share.mkdir()
    found = await attempts(tmp_path, share_bounds(with_tools(paths), Share(path=str(share))), share)
    assert found == found | NEVER
    assert (found["make"], found["read-own"], found["remove"]) == (0, 0, 0)
    sockets = ("tcp", "udp", "unix", "dial-tcp", "dial-udp", "dial-unix")
    assert {name: found[name] for name in sockets} == dict.fromkeys(sockets, REFUSED)


@pytest.mark.parametrize("driver", ["uml", "qemu"])
def test_only_user_mode_linux_traces_processes(tmp_path: Path, paths: MachinePaths, driver: str) -> None:
    plan = with_tools(paths)
    plan = replace(plan, spec=replace(plan.spec, driver=driver))  # type: ignore[arg-type]
    calls = vmm_bounds(plan, paths, plan.tools["gvproxy"], tmp_path).calls
    assert calls is not None
    assert ("ptrace" in {call.name for call in calls.never}) is (driver == "qemu")
