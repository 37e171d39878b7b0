# SPDX-License-Identifier: Apache-2.0
"""A newcomer with nothing: a fresh clone, an empty HOME, no capabilities, and never any again."""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.world import BUSYBOX, clean_environment, wait_until

CLONE = Path(__file__).parents[2]
DEADLINE = 800
_KEPT = re.compile(r"(https?|no|all|ftp)_proxy|(PIP|UV|SSL)_\w+|COVE_DEBIAN_MIRROR", re.IGNORECASE)
_NEVER = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", "*.egg-info", "dist", "build")
_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite is an ordinary user's already"),
    pytest.mark.skipif(
        shutil.which("setpriv") is None, reason="needs setpriv of util-linux to become nobody"
    ),
]


@dataclass(frozen=True)
class Newcomer:
    """An ordinary user in a clone of their own."""

    clone: Path
    home: Path
    uid: int
    gid: int

    def __call__(self, *argv: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        """Run a command as this user, and insist on its exit code."""
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", "--no-new-privs"]
        none = ["--bounding-set=-all", "--inh-caps=-all"]
        kept = {name: value for name, value in clean_environment().items() if _KEPT.fullmatch(name)}
        done = subprocess.run(
            ["setpriv", *ids, *none, "--", *argv],
            env={**kept, "HOME": str(self.home), "PATH": "/usr/local/bin:/usr/bin:/bin"},
            cwd=self.clone,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout!r}\n{done.stderr.decode()}"
        return done


def _usable(python: str) -> bool:
    check = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    return Path(python).exists() and subprocess.run([python, "-c", check], check=False).returncode == 0


@pytest.fixture(scope="module")
def nobody() -> Iterator[Newcomer]:
    if not any(map(_usable, _PYTHONS)):
        pytest.skip("there is no Python that nobody may use")
    user = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="cove-it-", dir="/tmp"))
    folder.chmod(0o755)
    newcomer = Newcomer(folder / "clone", folder / "h", user.pw_uid, user.pw_gid)
    shutil.copytree(CLONE, newcomer.clone, symlinks=True, ignore=_NEVER)
    newcomer.home.mkdir()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    yield newcomer
    newcomer("./cove", "delete", "-f")
    wait_until(lambda: not _processes_of(folder), "the end of all processes")
    shutil.rmtree(folder)


def _processes_of(folder: Path) -> list[str]:
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = status.read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in command:
            found.append(command)
    return found


def test_one_command_sets_everything_up(nobody: Newcomer) -> None:
    """The first of the README's two commands, word by word."""
    done = nobody("./cove", "run", "--rm", BUSYBOX, "uname", "-a")
    assert done.stdout.startswith(b"Linux ")
    assert done.stdout.count(b"\n") == 1
    assert platform.release().encode() not in done.stdout
    said = done.stderr.decode()
    assert "Booting the Linux kernel" in said
    assert "Packages" in said


def test_the_second_run_says_nothing(nobody: Newcomer) -> None:
    done = nobody("./cove", "run", "--rm", BUSYBOX, "id", "-u")
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_everything_lies_in_the_home_and_belongs_to_them(nobody: Newcomer) -> None:
    # .docker holds the machine's context, .cache is pip's
    assert {path.name for path in nobody.home.iterdir()} <= {".cove", ".cache", ".docker"}
    for path in (nobody.home / ".cove").rglob("*"):
        assert path.lstat().st_uid == nobody.uid, path


def test_the_processes_have_no_power(nobody: Newcomer) -> None:
    import json

    found = json.loads(nobody("./cove", "inspect").stdout)[0]
    assert len(found["processes"]) >= 3
    for role, pid in found["processes"].items():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert set(fields["Uid"].split()) == {str(nobody.uid)}, role
        assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0, role
        if not role.startswith("share"):  # these have a user namespace of their own, with a set of its own
            assert int(fields["CapBnd"], 16) == 0, role
        assert fields["NoNewPrivs"] == "1", role


def test_ports_that_are_for_root_are_refused_with_what_allows_them(nobody: Newcomer) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("port 80 is for everybody here")
    # 126 is what docker makes of every error that says "permission denied"
    done = nobody("./cove", "run", "--rm", "-p", "127.0.0.1:80:80", BUSYBOX, "true", code=126)
    said = done.stderr.decode()
    assert "listen tcp4 127.0.0.1:80: bind: permission denied" in said
    assert "sudo sysctl net.ipv4.ip_unprivileged_port_start=80" in said


def test_the_machine_stops_and_starts_again(nobody: Newcomer) -> None:
    nobody("./cove", "restart")
    assert nobody("./cove", "shell", "id", "-u").stdout == b"0\n"
    nobody("./cove", "stop")
    nobody("./cove", "status", code=1)
