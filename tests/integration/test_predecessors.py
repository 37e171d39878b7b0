# SPDX-License-Identifier: Apache-2.0
"""docker-machine's and boot2docker's words, as hands type them, on a real machine."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_boot2dockers_words(home: Home) -> None:
    home.cove("boot2docker", "init", "--driver", "uml", "--mount-none")
    home.cove("boot2docker", "up")
    assert home.cove("boot2docker", "status").returncode == 0
    info = json.loads(home.cove("boot2docker", "info").stdout)
    assert (info["name"], info["status"]) == ("default", "running")
    lines = home.cove("boot2docker", "shellinit", "--shell", "bash").stdout.decode()
    assert home.machine().socket in lines
    assert home.cove("boot2docker", "socket").stdout.decode().strip() == home.machine().socket
    assert home.cove("boot2docker", "ip").stdout == b"127.0.0.1\n"
    assert home.cove("boot2docker", "ssh", "uname", "-s").stdout == b"Linux\n"
    # a kernel in user mode cannot be saved, and says so
    assert "suspend" in talk(home.cove("boot2docker", "save", code=1))
    home.cove("boot2docker", "restart")
    home.cove("boot2docker", "down")
    assert home.cove("boot2docker", "status", code=1).stdout
    home.cove("boot2docker", "up")
    home.cove("boot2docker", "poweroff")
    home.cove("boot2docker", "delete", "-f", "default")
    assert home.names() == []


def test_words_of_others_at_the_top(home: Home) -> None:
    home.cove("create", "--driver", "uml", "--mount-none")
    home.cove("up")
    assert b"default   running" in home.cove("ls").stdout
    assert home.cove("ssh", "--", "uname", "-s").stdout == b"Linux\n"
    home.cove("down")
    assert home.machine().inspect()["status"] == "stopped"


def test_a_machine_that_is_not_running_has_no_address(home: Home) -> None:
    home.cove("create", "--driver", "uml", "--mount-none")
    assert "is created" in talk(home.cove("machine", "ip", code=1))
    assert "is created" in talk(home.cove("machine", "url", code=1))


def test_an_upgrade_finds_nothing_newer_just_after_a_build(uml: Machine) -> None:
    assert "is up to date" in talk(uml.home.cove("machine", "upgrade", "uml"))
