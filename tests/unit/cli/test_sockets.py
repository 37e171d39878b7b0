# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from cove.host import system_socket
from cove.machine.store import Store
from cove.system.paths import Home
from tests.unit.cli.conftest import Cove
from tests.unit.machine.world import SPEC


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, store: Store, home: Home) -> Path:
    """In place of /var/run/docker.sock; and the machine dev."""
    store.create(SPEC)
    path = home.root / "var.sock"
    monkeypatch.setattr(system_socket, "SYSTEM_SOCKET", path)
    return path


def test_a_line_is_printed_and_nothing_done(cove: Cove, place: Path, home: Home) -> None:
    target = home.machine("dev").docker_socket
    shown = cove("socket", "link", "dev")
    assert (shown.code, shown.out) == (0, f"sudo ln -sfn {target} {place}\n")
    assert "Nothing was done" in shown.err
    assert not place.is_symlink()
    assert cove("socket", "show").out == f"{place} is not there\n"
    place.symlink_to(target)
    shown = cove("socket", "link", "dev")
    assert (shown.code, shown.out) == (0, "")
    assert "already" in shown.err
    assert cove("socket", "show").out == f"{place} leads to {target}, which does not answer\n"
    assert json.loads(cove("socket", "show", "--json").out) == {
        "path": str(place), "kind": "link", "target": str(target), "answers": False, "machine": str(target),
    }  # fmt: skip
    assert cove("socket", "unlink").out == f"sudo rm {place}\n"


def test_another_engine(cove: Cove, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(place))
        engine.listen()
        refused = cove("socket", "link", "dev")
        assert (refused.code, refused.out) == (1, "")
        assert "another engine listens" in refused.err
        assert cove("socket", "link", "dev", "--force").out.startswith("sudo ln ")
    gone = cove("socket", "unlink")
    assert (gone.code, gone.out) == (1, "")


def test_no_such_machine(cove: Cove, place: Path) -> None:
    assert cove("socket", "link", "nobody").code == 1
    assert not place.exists()
