# SPDX-License-Identifier: Apache-2.0
"""A child does not see what is hidden from it, whatever it tries; we still do."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from cove.system.children import spawn
from cove.system.confine import Confinement
from cove.system.hide import hide
from cove.system.process import Command


def can_hide() -> bool:
    child = os.fork()
    if child == 0:
        try:
            hide([], keep=[])
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def run(script: str, confinement: Confinement, log: Path) -> str:
    async def child() -> None:
        one = await spawn(Command(("/bin/sh", "-c", script), {}), name="sh", log=log, confinement=confinement)
        assert await one.wait_within(20)

    asyncio.run(child())
    return log.read_text()


def test_hidden_but_for_what_is_kept(tmp_path: Path) -> None:
    if not can_hide():
        pytest.skip("this host lets us have no mount namespace")
    own = tmp_path / "home/.cove"
    (own / "m/dev").mkdir(parents=True)
    (own / "m/dev/data.img").write_text("disk")
    (own / "m/secret").write_text("secret")
    (own / "tools").mkdir()
    (own / "tools/program").write_text("program")
    (tmp_path / "home/file").write_text("file")
    everything = Path("/")
    bounds = Confinement(
        read=(everything, own / "tools"), write=(own / "m/dev/data.img", tmp_path / "log"), hide=(own,)
    )
    said = run(
        f"cd {tmp_path}/home; find . | sort; cat file .cove/m/dev/data.img .cove/tools/program;"
        "echo new > .cove/m/dev/data.img; echo x > .cove/x; umount .cove; ls .cove; id -u",
        bounds,
        tmp_path / "log",
    )
    for seen in ("./.cove/m/dev/data.img", "./.cove/tools/program", "filediskprogram", str(os.getuid())):
        assert seen in said
    assert "secret" not in said
    assert (own / "m/dev/data.img").read_text() == "new\n"
    assert not (own / "x").exists()
    assert (own / "m/secret").read_text() == "secret"


def test_what_is_not_there_needs_no_hiding(tmp_path: Path) -> None:
    bounds = Confinement(read=(Path("/"),), write=(tmp_path / "log",), hide=(tmp_path / "gone",))
    assert "ok" in run("echo ok", bounds, tmp_path / "log")
    assert not (tmp_path / "gone").exists()


def test_another_file_stands_in(tmp_path: Path) -> None:
    if not can_hide():
        pytest.skip("this host lets us have no mount namespace")
    real, other = tmp_path / "real", tmp_path / "other"
    real.write_text("real\n")
    other.write_text("other\n")
    bounds = Confinement(read=(Path("/"),), write=(tmp_path / "log",), stand_ins={real: other})
    assert run(f"cat {real}", bounds, tmp_path / "log") == "other\n"
    assert real.read_text() == "real\n"


def test_nothing_stands_in_for_what_is_not_there(tmp_path: Path) -> None:
    bounds = Confinement(
        read=(Path("/"),), write=(tmp_path / "log",), stand_ins={tmp_path / "gone": tmp_path}
    )
    assert "ok" in run("echo ok", bounds, tmp_path / "log")
