# SPDX-License-Identifier: Apache-2.0
"""docker-machine's and boot2docker's words, as hands type them, on a real machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.world import Home, Machine, talk


def test_docker_machines_words(uml: Machine, tmp_path: Path) -> None:
    home = uml.home
    assert b"uml" in home.cove("machine", "ls", "-q").stdout.split()
    assert home.cove("machine", "ip", "uml").stdout == b"127.0.0.1\n"
    url = home.cove("machine", "url", "uml").stdout.decode().strip()
    assert url == uml.socket
    home.env["DOCKER_HOST"] = url
    try:
        assert home.cove("machine", "active").stdout == b"uml\n"
    finally:
        del home.env["DOCKER_HOST"]
    assert home.cove("machine", "active", code=1).stdout == b""
    assert home.cove("machine", "status", "uml").returncode == 0
    assert home.cove("machine", "ssh", "uml", "echo", "$HOME", "|", "tr", "a-z", "A-Z").stdout == b"/ROOT\n"
    home.cove("machine", "ssh", "uml", "exit 3", code=3)


def test_files_are_copied_both_ways(uml: Machine, tmp_path: Path) -> None:
    home, big = uml.home, bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(big)
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "folder/inner/script").write_text("x")
    (tmp_path / "folder/inner/script").chmod(0o755)
    home.cove("machine", "scp", tmp_path / "file", "uml:/tmp/copied")
    home.cove("machine", "scp", "-r", tmp_path / "folder", "uml:/tmp")
    assert uml.shell("ls", "/tmp/folder/inner").stdout == b"script\n"
    (tmp_path / "back").mkdir()
    home.cove("machine", "scp", "uml:/tmp/copied", tmp_path / "back")
    home.cove("machine", "scp", "-r", "uml:/tmp/folder", tmp_path / "back")
    assert (tmp_path / "back/copied").read_bytes() == big
    assert (tmp_path / "back/folder/inner/script").stat().st_mode & 0o111
    for words in (["/a", "/b"], ["uml:/a", "uml:/b"]):
        home.cove("machine", "scp", *words, code=2)
    assert "Use -r" in talk(home.cove("machine", "scp", tmp_path / "folder", "uml:/tmp", code=2))
    home.cove("machine", "scp", "uml:/nowhere", tmp_path, code=1)


@pytest.mark.parametrize("word", ["up", "down", "save", "info", "shellinit", "status", "delete", "restart"])
def test_boot2dockers_words_are_there(home: Home, word: str) -> None:
    assert home.cove("boot2docker", word, "--help").returncode == 0


def test_a_machine_that_is_not_running_has_no_address(home: Home) -> None:
    home.cove("create", "--driver", "uml", "--mount-none")
    assert "is created" in talk(home.cove("machine", "ip", code=1))
    assert "is created" in talk(home.cove("machine", "url", code=1))


def test_an_upgrade_finds_nothing_newer_just_after_a_build(uml: Machine) -> None:
    assert "is up to date" in talk(uml.home.cove("machine", "upgrade", "uml"))
