# SPDX-License-Identifier: Apache-2.0
"""Landlock with real children: what they were not given they cannot have."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from cove.system.children import spawn
from cove.system.confine import Confinement, landlock_abi
from cove.system.process import Command

pytestmark = pytest.mark.skipif(landlock_abi() == 0, reason="this host's kernel has no Landlock")

PYTHON = Path(sys.executable).resolve()
SYSTEM = (
    *(Path(place) for place in ("/usr", "/lib", "/lib64", "/bin", "/etc")),
    PYTHON.parents[1],
    Path(sys.prefix),
)
DEVICES = (Path("/dev/null"), Path("/dev/urandom"))


async def exit_code(script: str, confinement: Confinement | None) -> int:
    child = await spawn(Command((str(PYTHON), "-c", script), {}), name="probe", confinement=confinement)
    return await child.wait()


def reading(path: Path) -> str:
    return f"open({str(path)!r}).read()"


@pytest.mark.parametrize("given", [True, False])
async def test_files_that_were_not_given_cannot_be_read(tmp_path: Path, given: bool) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    bounds = Confinement(read=(*SYSTEM, secret) if given else SYSTEM, write=DEVICES)
    assert (await exit_code(reading(secret), bounds) == 0) is given


async def test_without_confinement_everything_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("s")
    assert await exit_code(reading(tmp_path / "file"), None) == 0


@pytest.mark.parametrize(
    "attempt",
    [
        "open({p!r} + '/new', 'w')",
        "import os; os.unlink({p!r} + '/file')",
        "import os; os.mkdir({p!r} + '/folder')",
        "import socket; socket.socket(socket.AF_UNIX).bind({p!r} + '/s')",
        "import os; os.symlink('x', {p!r} + '/link')",
    ],
)
async def test_folders_for_reading_cannot_be_changed(tmp_path: Path, attempt: str) -> None:
    (tmp_path / "file").write_text("s")
    script = attempt.format(p=str(tmp_path))
    assert await exit_code(script, Confinement(read=(*SYSTEM, tmp_path), write=DEVICES)) != 0
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
    assert await exit_code(script, Confinement(read=SYSTEM, write=(tmp_path, *DEVICES))) == 0


async def test_what_can_be_written_cannot_be_executed(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy("/bin/true", program)
    script = f"import subprocess; subprocess.run([{str(program)!r}], check=True)"
    assert await exit_code(script, Confinement(read=SYSTEM, write=(tmp_path, *DEVICES))) != 0


@pytest.mark.skipif(landlock_abi() < 4, reason="this host's Landlock knows no network")
async def test_no_tcp_port_but_those_that_were_given() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = f"import socket; socket.socket().bind(('127.0.0.1', {port}))"
    assert await exit_code(script, Confinement(read=SYSTEM, write=DEVICES)) != 0
    assert await exit_code(script, Confinement(read=SYSTEM, write=DEVICES, bind_tcp=(port,))) == 0


@pytest.mark.skipif(landlock_abi() < 4, reason="this host's Landlock knows no network")
@pytest.mark.parametrize("allowed", [True, False])
async def test_connections_only_when_allowed(allowed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = f"import socket; socket.create_connection({server.getsockname()!r})"
        bounds = Confinement(read=SYSTEM, write=DEVICES, connect_tcp=allowed)
        assert (await exit_code(script, bounds) == 0) is allowed


@pytest.mark.skipif(landlock_abi() < 6, reason="this host's Landlock knows no scopes")
async def test_other_processes_cannot_be_signalled() -> None:
    bounds = Confinement(read=SYSTEM, write=DEVICES)
    assert await exit_code(f"import os; os.kill({os.getpid()}, 0)", bounds) != 0


async def test_privileges_cannot_be_gained() -> None:
    script = "import ctypes, sys; sys.exit(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))"  # PR_GET_NO_NEW_PRIVS
    assert await exit_code(script, Confinement(read=SYSTEM, write=DEVICES)) == 1
