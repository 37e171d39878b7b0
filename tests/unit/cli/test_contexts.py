# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from cove.machine.store import Store
from cove.system.paths import Home
from tests.unit.cli.conftest import Cove
from tests.unit.machine.world import SPEC


@pytest.fixture
def config(store: Store, home: Home) -> Path:
    """A user's docker configuration, and the machine dev, which has no context yet."""
    store.create(SPEC)
    folder = home.root / "user" / ".docker"
    folder.mkdir(parents=True)
    return folder


def test_create_use_list_remove(cove: Cove, config: Path, home: Home) -> None:
    socket = home.machine("dev").docker_socket
    assert cove("context", "create", "dev").out == "cove-dev\n"
    assert not (config / "config.json").exists()
    shown = cove("context", "use", "dev")
    assert (shown.code, shown.out, shown.err) == (0, "cove-dev\n", "")
    assert cove("context", "ls").out.splitlines()[1] == f"cove-dev *   dev       unix://{socket}"
    assert json.loads(cove("context", "ls", "--json").out) == [
        {"name": "cove-dev", "machine": "dev", "docker_host": f"unix://{socket}", "current": True}
    ]
    assert cove("context", "rm", "dev").code == 0
    assert "has no context" in cove("context", "rm", "dev").err
    assert json.loads((config / "config.json").read_text()) == {}


def test_what_overrides_the_context_is_said(
    cove: Cove, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere")
    shown = cove("context", "use", "dev")
    assert (shown.code, "DOCKER_HOST is set, and overrides" in shown.err) == (0, True)


def test_a_machine_must_exist(cove: Cove, config: Path) -> None:
    for action in ("use", "create", "rm"):
        assert "there is no machine 'other'" in cove("context", action, "other").err
