# SPDX-License-Identifier: Apache-2.0
"""create, start, stop, restart, delete and the commands that tell how it stands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.world import BUSYBOX, COVE, DEADLINE, Home, alive, talk, wait_until


def leftovers(home: Home) -> list[str]:
    """Command lines of processes that have to do with a home."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            command += f" (in {(folder / 'cwd').readlink()})"
        except (NotADirectoryError, FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if str(home.root) in command and folder.name != str(os.getpid()):
            found.append(command)
    return found


@pytest.mark.parametrize("driver", ["uml", "qemu"])
def test_a_whole_life(home: Home, driver: str) -> None:
    """Every command once, with its exit code, as a machine goes through all of its states."""
    name = "life"
    assert "there is no machine" in talk(home.cove("status", name, code=1))
    accel = ["--accel", "tcg"] if driver == "qemu" else []
    created = json.loads(home.cove("create", name, "--driver", driver, *accel, "--json").stdout)
    assert (created["name"], created["driver"], created["status"]) == (name, driver, "created")
    home.cove("status", name, code=1)
    assert f"there is a machine '{name}' already" in talk(home.cove("create", name, code=1))
    home.cove("start", name)
    machine = home.machine(name)
    assert home.cove("status", name).stdout.startswith(f"{name} is running\n".encode())
    assert "is running already" in talk(home.cove("start", name))
    boot = machine.boot_id()
    refused = home.cove("delete", name, code=1)
    assert "no terminal to ask" in talk(refused)
    assert machine.inspect()["status"] == "running"
    home.cove("restart", name)
    assert machine.boot_id() != boot
    pids = machine.processes().values()
    home.cove("stop", name)
    assert not list(filter(alive, pids))
    found = machine.inspect()
    assert (found["status"], found["processes"]) == ("stopped", {})
    home.cove("status", name, code=1)
    assert "is not running" in talk(home.cove("stop", name))
    home.cove("delete", "--force", name)
    assert home.names() == []
    assert not (home.root / "m" / name).exists()
    assert leftovers(home) == []


def test_a_home_of_any_name(cache: Path, tmp_path: Path) -> None:
    """Command lines of kernels, QEMU and gvproxy have ideas of their own about spaces, commas and quotes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="Jörg's, of cove ") as root:
        home = Home(Path(root) / "h", cache)
        try:
            home.cove("create", "odd", "--driver", "uml")
            assert home.machine("odd").sh("echo here") == "here\n"
        finally:
            home.close()


def test_what_needs_a_running_machine_says_so(home: Home) -> None:
    home.cove("create", "--driver", "uml")
    assert "default is created" in talk(home.cove("explain", code=1))
    assert b"not running" in home.cove("version").stdout
    assert "no supervisor.log yet" in talk(home.cove("logs", code=1))
    problem = json.loads(home.cove("inspect", "nobody", "--json", code=1).stdout or "{}")
    assert problem.get("error", "NotFoundError") == "NotFoundError"


def test_a_machine_that_runs_is_deleted_by_force_only(home: Home) -> None:
    home.cove("create", "--driver", "uml", "--start")
    with home.terminal("delete") as terminal:
        terminal.expect(r"\[y/N\]")
        terminal.type("y\n")
        assert terminal.wait() == 1
    assert "cove stop default" in terminal.text
    assert home.machine().inspect()["status"] == "running"
    home.cove("delete", "-f")
    assert home.names() == []


def test_logs_of_all_sources(home: Home) -> None:
    home.cove("start")
    home.cove("run", "--rm", BUSYBOX, "true")
    for source, word in (
        ("supervisor", b"running"),
        ("console", b"cove-stage engine"),
        ("network", b"gvproxy"),
        ("dockerd", b"API listen"),
        ("containerd", b"containerd"),
    ):
        assert word in home.cove("logs", "--source", source).stdout, source
    assert home.cove("logs", "--tail", "1").stdout.count(b"\n") <= 1
    with home.begun("logs", "-f", "--source", "dockerd", "--tail", "20") as child:
        home.cove("run", "--rm", "no.such.registry.invalid/image", code=125)
        assert child.stdout is not None
        # it may begin to read before or after the line was written
        assert any(b"no.such.registry.invalid" in line for line in child.stdout)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) in (0, 130)


def test_stop_gives_containers_time(home: Home) -> None:
    """A clean stop: the container sees SIGTERM, what it writes then is on the disk."""
    script = "trap 'echo bye > /data/said; exit' TERM; echo up > /data/said; while :; do sleep 0.1; done"
    home.cove("run", "-d", "-v", "last:/data", BUSYBOX, "sh", "-c", script)
    read = ("run", "--rm", "-v", "last:/data", BUSYBOX, "cat", "/data/said")
    wait_until(lambda: home.cove(*read, code=None).stdout == b"up\n", "the container's first word")
    home.cove("stop")
    assert home.machine().inspect()["reason"] == "asked for"
    assert home.cove(*read).stdout == b"bye\n"


def test_stop_has_a_deadline(home: Home) -> None:
    home.cove("run", "-d", "--stop-timeout", "600", BUSYBOX, "sleep", "10000")
    pids = home.machine().processes().values()
    home.cove("stop", "--timeout", "1")
    assert not list(filter(alive, pids))
    assert "was ended" in home.machine().inspect()["reason"]
    home.cove("start")


def test_poweroff_inside_is_a_stop(home: Home) -> None:
    home.cove("create", "--driver", "uml", "--start")
    home.cove("shell", "poweroff", code=None)
    wait_until(lambda: home.machine().inspect()["status"] == "stopped", "the end of the machine")
    assert home.machine().inspect()["reason"] == "the guest powered itself off"


def test_the_supervisor_outlives_its_terminal(home: Home) -> None:
    with home.terminal("start") as terminal:
        assert terminal.wait(DEADLINE) == 0, terminal.text
        terminal.hang_up()
    assert home.cove("run", "--rm", BUSYBOX, "echo", "still").stdout == b"still\n"


@pytest.mark.parametrize("stage", ["Booting", "Starting Docker Engine"])
def test_ctrl_c_ends_a_start_without_a_trace(home: Home, stage: str) -> None:
    home.cove("create", "--driver", "uml")
    with home.terminal("start") as terminal:
        terminal.expect(stage)
        terminal.type("\x03")
        assert terminal.wait() == 130, terminal.text
    wait_until(lambda: not leftovers(home), "the end of all processes")
    assert home.machine().inspect()["status"] in ("stopped", "failed")
    home.cove("start")


def test_two_starts_at_once_make_one_machine(home: Home) -> None:
    home.cove("create", "--driver", "uml")
    with home.begun("start") as one, home.begun("start") as other:
        errors = [child.communicate(timeout=DEADLINE)[1] for child in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0), errors
    assert len([line for line in leftovers(home) if "cove.machine.supervise" in line]) == 1


def test_two_runs_at_once_in_an_empty_home(home: Home) -> None:
    words = ("run", "--rm", BUSYBOX, "cat", "/proc/sys/kernel/random/boot_id")
    with home.begun(*words) as one, home.begun(*words) as other:
        said = [child.communicate(timeout=DEADLINE) for child in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0), said
    assert said[0][0] == said[1][0]
    assert len(said[0][0].split()) == 1


def test_deleting_the_home_is_a_full_uninstall(home: Home, tmp_path: Path) -> None:
    """Outside of COVE_HOME and COVE_CACHE only the machine's docker context is written, which goes with it."""
    home.env |= {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / ".docker")}
    home.cove("run", "--rm", BUSYBOX, "true")
    home.cove("docker", "compose", "version")
    home.cove("delete", "-f")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
    assert leftovers(home) == []


def test_cache_size_and_prune(make_home: Callable[..., Home], tmp_path: Path, home: Home) -> None:
    assert home.cache is not None
    copy = tmp_path / "cache"
    shutil.copytree(home.cache, copy, symlinks=True)
    own = make_home(copy)
    own.cove("create", "--driver", "uml", "--start")
    sizes = own.json("cache", "size")
    assert sizes["tools"] > 10 << 20
    assert sizes["images"] > 10 << 20
    assert "needs the cache" in talk(own.cove("cache", "prune", "--all", code=1))
    own.cove("cache", "prune")
    assert own.json("cache", "size")["packages"] == 0
    # what was made is there: no network is needed
    own.cove("--offline", "restart")
    own.cove("stop")
    assert json.loads(own.cove("cache", "prune", "--all", "--json").stdout)["freed"] > 10 << 20
    assert sum(own.json("cache", "size").values()) == 0


def test_completion_is_a_script(home: Home) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = home.cove("completion", shell).stdout
        assert b"_COVE_COMPLETE" in script
        program = shutil.which(shell)
        if program:
            subprocess.run([program, "-n"], input=script, check=True)


def test_env_leads_the_docker_cli(home: Home) -> None:
    """What a user types: eval the lines, then the docker that is on the PATH (here: Cove's own)."""
    home.cove("start")
    docker = home.cove("docker", "context", "ls")  # makes sure that the CLI is there
    assert docker.returncode == 0
    script = 'eval "$("$1" env)"; "$2" -c "import os, urllib.parse; print(os.environ[\'DOCKER_HOST\'])"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", COVE, sys.executable],
        env=home.environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().strip() == home.machine().socket
