# SPDX-License-Identifier: Apache-2.0
"""Enabling and disabling, with systemd not running and with a stand-in for launchctl."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cove.errors import CommandError, UsageError
from cove.machine.autostart import disable, enable, status
from cove.machine.store import Machine, Store
from tests.unit.machine.world import SPEC


@pytest.fixture
def machine(store: Store) -> Machine:
    return store.create(SPEC)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "me"), "PATH": str(tmp_path / "bin"), "COVE_CACHE": "/c"}


@pytest.fixture
def launchctl(tmp_path: Path) -> Path:
    program = tmp_path / "bin/launchctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n[ ! -e {tmp_path}/refuse ] || exit 5\n')
    program.chmod(0o755)
    return tmp_path / "asked"


def test_systemd_that_does_not_run_now_finds_it_at_the_next_login(
    machine: Machine, env: dict[str, str]
) -> None:
    assert not status(machine.name, env, platform="linux").enabled
    done = enable(machine, env, platform="linux")
    assert (done.enabled, done.manager, done.loaded) == (True, "systemd", False)
    assert done.file == Path(env["HOME"], f".config/systemd/user/cove-{machine.name}.service")
    text = done.file.read_text()
    assert f'"COVE_HOME={machine.paths.root.parent.parent}"' in text
    assert 'Environment="COVE_CACHE=/c"' in text
    wanted = done.file.parent / "default.target.wants" / done.file.name
    assert wanted.readlink() == done.file
    assert enable(machine, env, platform="linux") == done
    assert disable(machine.name, env, platform="linux")
    assert not done.file.exists()
    assert not wanted.is_symlink()
    assert not disable(machine.name, env, platform="linux")


def test_launchd_is_told_of_the_agent(machine: Machine, env: dict[str, str], launchctl: Path) -> None:
    done = enable(machine, env, platform="darwin")
    label = f"internal.cove.{machine.name}"
    assert done.file == Path(env["HOME"], f"Library/LaunchAgents/{label}.plist")
    assert (done.enabled, done.loaded) == (True, True)
    assert disable(machine.name, env, platform="darwin")
    domain = f"gui/{os.getuid()}"
    assert launchctl.read_text().splitlines() == [
        f"bootstrap {domain} {done.file}", f"print {domain}/{label}", f"bootout {domain}/{label}",
    ]  # fmt: skip
    assert not done.file.exists()


def test_a_refusal_leaves_nothing(machine: Machine, env: dict[str, str], launchctl: Path) -> None:
    (launchctl.parent / "refuse").touch()
    with pytest.raises(CommandError):
        enable(machine, env, platform="darwin")
    assert not status(machine.name, env, platform="darwin").enabled


def test_a_user_without_a_home(machine: Machine) -> None:
    with pytest.raises(UsageError, match="HOME is not set"):
        enable(machine, {}, platform="linux")
