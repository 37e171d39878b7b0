# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cove.errors import StorageError
from cove.host.docker_config import environment, refresh, user_folder


@pytest.fixture
def plugins(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "wrappers"
    folder.mkdir()
    found = {name: folder / name for name in ("docker-compose", "docker-buildx")}
    for path in found.values():
        path.write_text("#!/bin/sh\n")
    return found


@pytest.fixture
def user(tmp_path: Path) -> Path:
    folder = tmp_path / "user"
    (folder / "cli-plugins").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"psFormat": "x"}))
    (folder / "contexts").mkdir()
    return folder


def links(folder: Path) -> dict[str, str]:
    return {entry.name: str(entry.readlink()) for entry in folder.iterdir() if entry.is_symlink()}


def test_without_a_user_folder_only_our_plugins(tmp_path: Path, plugins: dict[str, Path]) -> None:
    refresh(tmp_path / "ours", user=None, plugins=plugins)
    assert links(tmp_path / "ours") == {}
    assert links(tmp_path / "ours/cli-plugins") == {name: str(path) for name, path in plugins.items()}
    assert (tmp_path / "ours/cli-plugins").stat().st_mode & 0o777 == 0o700


def test_a_configuration_of_its_own(tmp_path: Path, user: Path, plugins: dict[str, Path]) -> None:
    """For builds: over the folder that is used otherwise, whose other entries it shares."""
    ours, builds = tmp_path / "docker", tmp_path / "docker-build"
    refresh(ours, user=user, plugins=plugins)
    for config in ("{}", '{"proxies": {}}'):
        refresh(builds, user=ours, plugins={}, config=config)
        assert (builds / "config.json").read_text() == config
        assert (builds / "config.json").stat().st_mode & 0o777 == 0o600
        assert links(builds) == {"contexts": str(ours / "contexts")}
        assert (builds / "cli-plugins/docker-buildx").resolve() == plugins["docker-buildx"]
    assert json.loads((user / "config.json").read_text()) == {"psFormat": "x"}
    assert user_folder({"DOCKER_CONFIG": str(builds), "HOME": "/h"}, ours) == Path("/h/.docker")


def test_a_user_folder_that_does_not_exist_is_not_made(tmp_path: Path, plugins: dict[str, Path]) -> None:
    refresh(tmp_path / "ours", user=tmp_path / "none", plugins=plugins)
    assert links(tmp_path / "ours") == {}
    assert not (tmp_path / "none").exists()


def test_the_users_entries_are_linked(tmp_path: Path, user: Path, plugins: dict[str, Path]) -> None:
    ours = tmp_path / "ours"
    refresh(ours, user=user, plugins=plugins)
    assert links(ours) == {name: str(user / name) for name in ("config.json", "contexts")}
    (user / "buildx").mkdir()
    (user / "contexts").rmdir()
    refresh(ours, user=user, plugins=plugins)
    assert links(ours) == {name: str(user / name) for name in ("config.json", "buildx")}


def test_config_is_linked_before_it_exists(tmp_path: Path, user: Path, plugins: dict[str, Path]) -> None:
    (user / "config.json").unlink()
    refresh(tmp_path / "ours", user=user, plugins=plugins)
    (tmp_path / "ours/config.json").write_text("{}")
    assert (user / "config.json").read_text() == "{}"


def test_the_users_plugins_win_if_they_work(tmp_path: Path, user: Path, plugins: dict[str, Path]) -> None:
    (user / "cli-plugins/docker-compose").write_text("")
    (user / "cli-plugins/docker-scan").write_text("")
    (user / "cli-plugins/docker-buildx").symlink_to("/nowhere/docker-buildx")
    refresh(tmp_path / "ours", user=user, plugins=plugins)
    assert links(tmp_path / "ours/cli-plugins") == {
        "docker-compose": str(user / "cli-plugins/docker-compose"),
        "docker-scan": str(user / "cli-plugins/docker-scan"),
        "docker-buildx": str(plugins["docker-buildx"]),
    }


def test_what_docker_made_gives_way_but_is_kept(tmp_path: Path, user: Path, plugins: dict[str, Path]) -> None:
    ours = tmp_path / "ours"
    refresh(ours, user=None, plugins=plugins)
    (ours / "config.json").write_text("made by docker")
    (ours / "buildx").mkdir()
    refresh(ours, user=None, plugins=plugins)
    assert (ours / "config.json").read_text() == "made by docker"
    refresh(ours, user=user, plugins=plugins)
    assert (ours / "config.json").samefile(user / "config.json")
    assert (ours / "config.json.cove-kept").read_text() == "made by docker"
    assert (ours / "buildx").is_dir()


def test_new_plugins_replace_old_links(tmp_path: Path, plugins: dict[str, Path]) -> None:
    refresh(
        tmp_path / "ours", user=None, plugins={"docker-compose": Path("/old"), "docker-gone": Path("/old")}
    )
    refresh(tmp_path / "ours", user=None, plugins=plugins)
    assert links(tmp_path / "ours/cli-plugins") == {name: str(path) for name, path in plugins.items()}


def test_many_at_once(tmp_path: Path, user: Path, plugins: dict[str, Path]) -> None:
    for name in ("a", "b", "c"):
        (user / name).mkdir()  # something to do in each round
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(refresh, tmp_path / "ours", user=user, plugins=plugins) for _ in range(64)]
        for job in jobs:
            job.result()
    assert set(links(tmp_path / "ours")) == {"config.json", "contexts", "a", "b", "c"}


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_unwritable_home(tmp_path: Path, plugins: dict[str, Path]) -> None:
    (tmp_path / "ours").mkdir(mode=0o500)
    with pytest.raises(StorageError):
        refresh(tmp_path / "ours", user=None, plugins=plugins)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, None),
        ({"HOME": "/h"}, Path("/h/.docker")),
        ({"HOME": "/h", "DOCKER_CONFIG": "/c"}, Path("/c")),
        ({"HOME": "/h", "DOCKER_CONFIG": "/h/.cove/docker"}, Path("/h/.docker")),
        ({"HOME": "/h", "DOCKER_CONFIG": ""}, Path("/h/.docker")),
    ],
)
def test_user_folder(env: dict[str, str], expected: Path | None) -> None:
    assert user_folder(env, Path("/h/.cove/docker")) == expected


def test_environment() -> None:
    env = environment(Path("/h/m/default/docker.sock"), Path("/h/docker"))
    assert env["DOCKER_HOST"] == "unix:///h/m/default/docker.sock"
    assert env["DOCKER_CONFIG"] == "/h/docker"
    assert env["DOCKER_TLS_VERIFY"] == ""
