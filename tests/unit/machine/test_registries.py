# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from cove.errors import OfflineError, UsageError
from cove.events import silent
from cove.machine.config import Config
from cove.machine.registries import _run_helper, docker_settings, puller, trust_for
from cove.system.paths import Home


def test_docker_settings(tmp_path: Path) -> None:
    home = Home(tmp_path / "cove", tmp_path / "cache")
    env = {"DOCKER_CONFIG": str(tmp_path)}
    assert docker_settings(home, env) == docker_settings(home, {}) == {}
    (tmp_path / "config.json").write_text('{"auths": {}}')
    assert docker_settings(home, env) == {"auths": {}}
    for text in ("{", "[]"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UsageError, match=r"config\.json"):
            docker_settings(home, env)


def test_settings_of_mirrors(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "cache")
    home.config.write_text("registry_mirrors: [https://a.example]\n")
    made = puller(home, silent, mirrors=["https://b.example"])
    assert [one.host for one in made.settings.endpoints("docker.io")][:2] == ["b.example", "a.example"]


def test_offline(tmp_path: Path) -> None:
    with pytest.raises(OfflineError):
        puller(Home(tmp_path, tmp_path), silent, offline=True)


def test_a_credential_helper_is_a_program_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker-credential-x"
    program.write_text("#!/bin/sh\nprintf '%s ' \"$1\"; cat\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert _run_helper("docker-credential-x", b"a.example") == b"get a.example"


def test_whom_to_believe(tmp_path: Path) -> None:
    home = Home(tmp_path / "cove", tmp_path / "cache")
    folder = tmp_path / "docker/certs.d/a.example:5000"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (folder / "me.cert").write_text("mine")
    trust = trust_for(home, Config(), {"DOCKER_CONFIG": str(tmp_path / "docker")})
    assert "AAAA" in trust("a.example:5000").authorities
    assert trust("a.example:5000").client is None  # a certificate without its key
    (folder / "me.key").write_text("mine")
    assert trust("a.example:5000").client == (folder / "me.cert", folder / "me.key")
    assert "AAAA" not in trust("a.example").authorities
