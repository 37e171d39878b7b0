# SPDX-License-Identifier: Apache-2.0
"""Refused system calls, with real children."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cove.system import seccomp
from cove.system.call_rules import Call, CallRules, every
from cove.system.children import Child, spawn
from cove.system.confine import Confinement
from cove.system.process import Command

SOURCE = Path(__file__).resolve().parents[3] / "src"
needs_kernel = pytest.mark.skipif(not seccomp.available(), reason="this host's kernel cannot")

TRY = """
import ctypes, os, socket, sys, threading
def attempt(what):
    try:
        what()
        return "ok"
    except OSError as error:
        return str(error.errno)
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *words):
    if libc.syscall(ctypes.c_long(number), *(ctypes.c_long(word) for word in words)) < 0:
        raise OSError(ctypes.get_errno(), "")
def bind():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
"""


async def start(script: str, rules: CallRules) -> Child:
    calls = Confinement(read=(Path("/"),), write=(Path("/"),), bind_tcp=(0,), calls=rules)
    return await spawn(
        Command((sys.executable, "-c", TRY + script), {}), name="probe", stdout_pipe=True, confinement=calls
    )


async def said(child: Child) -> list[str]:
    assert child.stdout is not None
    words = (await child.stdout.read()).decode().split()
    assert await child.wait() == 0
    return words


@needs_kernel
async def test_what_is_never_allowed_is_refused_at_once() -> None:
    script = "print(attempt(lambda: call(272, 0x10000000)), attempt(lambda: call(272, 0x200)), attempt(bind))"
    rules = CallRules(never=(Call("unshare", argument=0, any_bit=0x10000000),))
    assert await said(await start(script, rules)) == [str(errno.EPERM), "ok", "ok"]


@needs_kernel
async def test_sealed_calls_pass_until_the_seal_is_closed() -> None:
    script = """
for line in iter(lambda: os.read(int(sys.argv[1]), 1), b""):
    print(attempt(bind), attempt(lambda: socket.socket(socket.AF_UNIX).close()), flush=True)
"""
    inlet, outlet = os.pipe()
    os.set_inheritable(inlet, True)
    rules = CallRules(sealed=(*every("bind"), Call("socket", argument=0, equals=socket.AF_UNIX)))
    bounds = Confinement(read=(Path("/"),), write=(Path("/"),), bind_tcp=(0,), calls=rules)
    command = Command((sys.executable, "-c", TRY + script, str(inlet)), {})
    child = await spawn(command, name="probe", stdout_pipe=True, pass_fds=[inlet], confinement=bounds)
    os.close(inlet)
    assert child.stdout is not None
    assert child.sealable
    answers = []
    for sealed in (False, False, True, True):
        if sealed:
            child.seal()
        os.write(outlet, b"\n")
        answers.append((await child.stdout.readline()).decode().split())
    os.close(outlet)
    assert await child.wait() == 0
    assert answers == [["ok", "ok"]] * 2 + [[str(errno.ENOSYS)] * 2] * 2


@needs_kernel
async def test_threads_and_programs_of_the_child_are_sealed_too() -> None:
    script = """
found = []
thread = threading.Thread(target=lambda: found.append(attempt(bind)))
thread.start(); thread.join()
print(*found, flush=True)
os.execv(sys.executable, [sys.executable, "-c", sys.orig_argv[2].split("found = []")[0] + "print(attempt(bind))"])
"""
    child = await start(script, CallRules(never=every("clone3"), sealed=every("bind")))
    child.seal()
    assert await said(child) == [str(errno.ENOSYS)] * 2


@needs_kernel
async def test_a_call_that_waits_when_the_seal_closes_is_refused() -> None:
    child = await start("print(attempt(bind))", CallRules(sealed=every("bind")))
    seal = child._seal
    assert seal is not None
    asyncio.get_running_loop().remove_reader(seal)
    asked = await asyncio.to_thread(select.select, [seal], [], [], 20.0)
    assert asked[0] == [seal]
    child.seal()
    assert await said(child) == [str(errno.ENOSYS)]


@needs_kernel
async def test_without_anything_to_seal_there_is_no_seal() -> None:
    child = await start("print(attempt(bind))", CallRules(never=every("bpf")))
    assert not child.sealable
    child.seal()
    assert await said(child) == ["ok"]


@needs_kernel
async def test_nothing_new_can_be_gained_by_exec() -> None:
    child = await start("print(libc.prctl(39, 0, 0, 0, 0))", CallRules(never=every("bpf")))
    assert await said(child) == ["1"]


@needs_kernel
async def test_calls_with_other_numbers_do_not_exist() -> None:
    """x32's numbers (bit 30) name the same calls: they must not go past the filter."""
    child = await start("print(attempt(lambda: call(0x40000000 + 39)))", CallRules(never=every("bpf")))
    assert await said(child) == [str(errno.ENOSYS)]


@needs_kernel
def test_where_someone_else_is_asked_already_the_rest_still_holds() -> None:
    """The kernel lets one program ask per process; ours is then run without a seal."""
    script = f"""
import sys; sys.path.insert(0, {str(SOURCE)!r})
import asyncio, socket
from pathlib import Path
from cove.system import seccomp
from cove.system.call_rules import Call, CallRules, every
from cove.system.children import spawn
from cove.system.confine import Confinement
from cove.system.process import Command
outer, keep = socket.socketpair()
seccomp.refuse(CallRules(sealed=every("acct")), outer)
async def main():
    rules = CallRules(never=every("unshare"), sealed=every("bind"))
    try_ = Command((sys.executable, "-c", {TRY!r} + "print(attempt(bind), attempt(lambda: call(272, 0)))"), {{}})
    bounds = Confinement(calls=rules, read=(Path("/"),), write=(Path("/"),), bind_tcp=(0,))
    child = await spawn(try_, name="x", stdout_pipe=True, confinement=bounds)
    print((await child.stdout.read()).decode().strip(), child.sealable)
    await child.wait()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["ok", str(errno.EPERM), "False"], done.stderr
    assert done.stderr == "x cannot be sealed on this host: it keeps the rights of its start\n"
