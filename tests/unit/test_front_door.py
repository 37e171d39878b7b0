# SPDX-License-Identifier: Apache-2.0
"""``./cove`` and the set-up behind it, run for real with stand-ins for pip's work (no network)."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What ``./cove`` needs of a clone, below a path that needs quoting."""
    clone = tmp_path / "a clone's $path"
    for name in ("scripts", "requirements"):
        (clone / name).mkdir(parents=True)
    for name in ("cove", "scripts/setup.sh", "scripts/bootstrap.py", "requirements/install.txt"):
        shutil.copy(ROOT / name, clone / name)
    (clone / "requirements/dev.txt").write_text("")
    (clone / "pyproject.toml").write_text("")
    return clone


def make_environment(folder: Path, clone: Path, *kinds: str) -> None:
    (folder / "bin").mkdir(parents=True)
    for name, body in (("python", "exit 0"), ("cove", 'printf "<%s>" "$0" "$@"; exit 7')):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    files = [clone / "requirements/install.txt", clone / "requirements/dev.txt", clone / "pyproject.toml"]
    stamp = subprocess.run(["cksum", *files], capture_output=True, text=True, check=True).stdout.rstrip("\n")
    for kind in kinds:
        (folder / f"cove-{kind}.stamp").write_text(stamp)


def run(script: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **env}
    return subprocess.run(
        [script, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def without_python(folder: Path) -> str:
    """A PATH that has what the scripts need, and as python3 only a shim that fails, as pyenv's do."""
    folder.mkdir()
    for name in ("cksum", "readlink", "dirname"):
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found
        (folder / name).symlink_to(found)
    (folder / "python3").write_text("#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n")
    (folder / "python3").chmod(0o755)
    return str(folder)


def test_arguments_and_exit_code_pass_through(clone: Path) -> None:
    make_environment(clone / ".venv", clone, "install")
    done = run(clone / "cove", "run", "a  b", "", "$x", "*")
    assert done.stdout == f"<{clone}/.venv/bin/cove><run><a  b><><$x><*>"
    assert (done.returncode, done.stderr) == (7, "")


def test_links_to_the_script_lead_to_the_clone(clone: Path, tmp_path: Path) -> None:
    make_environment(clone / ".venv", clone, "install")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/relative").symlink_to(f"../{clone.name}/cove")
    (tmp_path / "bin/absolute").symlink_to(tmp_path / "bin/relative")
    assert run(tmp_path / "bin/absolute", "x").stdout == f"<{clone}/.venv/bin/cove><x>"


def test_an_environment_in_cove_home_serves_a_clone_that_cannot_be_written(
    clone: Path, tmp_path: Path
) -> None:
    number = subprocess.run(
        ["cksum"], input=str(clone), capture_output=True, text=True, check=True
    ).stdout.split()[0]
    make_environment(tmp_path / f"home/venv-{number}", clone, "install")
    done = run(clone / "cove", COVE_HOME=str(tmp_path / "home"))
    assert done.stdout == f"<{tmp_path}/home/venv-{number}/bin/cove>"


@pytest.mark.parametrize("change", ["lock", "stamp", "python", "moved"])
def test_a_stale_environment_is_noticed(clone: Path, tmp_path: Path, change: str) -> None:
    make_environment(clone / ".venv", clone, "install")
    if change == "lock":
        (clone / "requirements/install.txt").write_text("other")
    elif change == "stamp":
        (clone / ".venv/cove-install.stamp").unlink()
    elif change == "python":
        (clone / ".venv/bin/python").unlink()
    else:
        clone = clone.rename(tmp_path / "elsewhere")
    # the set-up is due, which shows in that it looks for a Python
    done = run(clone / "cove", PATH=without_python(tmp_path / "bin"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Python 3.11 or newer was not found" in done.stderr
    assert "hint: install it" in done.stderr
    assert "pyenv" not in done.stderr


def test_the_fast_path_costs_little(clone: Path) -> None:
    make_environment(clone / ".venv", clone, "install")
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        run(clone / "cove")
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.2, "it does more than compare a stamp"


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts/bootstrap.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def filled(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that were filled, instead of pip filling them."""
    done: list[Path] = []

    def fill(folder: Path, _clone: Path, _kind: str) -> None:
        done.append(folder)
        (folder / "bin").mkdir(exist_ok=True)
        if not (folder / "bin/python").exists():
            (folder / "bin/python").symlink_to(sys.executable)

    monkeypatch.setattr(bootstrap, "fill", fill)
    return done


def test_set_up_happens_once(bootstrap: ModuleType, filled: list[Path], tmp_path: Path) -> None:
    for _ in range(2):
        assert bootstrap.setup(tmp_path, "dev", "stamp", tmp_path / "spare") == tmp_path / ".venv"
    assert filled == [tmp_path / ".venv"]
    assert (tmp_path / ".venv/cove-install.stamp").read_text() == "stamp", "dev includes install"
    bootstrap.setup(tmp_path, "install", "other", tmp_path / "spare")
    assert len(filled) == 2


def test_failed_set_up_leaves_no_stamp(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "base_python", lambda: "/bin/false")
    folder = tmp_path / ".venv"
    folder.mkdir()
    (folder / "half-made").touch()
    (folder / "cove-install.stamp").write_text("old")  # its python is gone, so it is not usable
    assert bootstrap.main([str(tmp_path), "install", "stamp", str(tmp_path / "spare")]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "the set-up failed\n$ /bin/false -m venv" in err
    assert [path.name for path in folder.iterdir()] == ["cove.lock"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_read_only_clone_uses_the_spare_folder(
    bootstrap: ModuleType, filled: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "clone").mkdir(mode=0o555)
    assert bootstrap.setup(tmp_path / "clone", "install", "stamp", tmp_path / "spare") == tmp_path / "spare"


def test_no_place_to_write(bootstrap: ModuleType, filled: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(bootstrap.SetupError, match="COVE_HOME"):
        bootstrap.setup(tmp_path / "file", "install", "stamp", tmp_path / "file/spare")


def test_every_dependency_is_installed_by_its_hash(
    clone: Path, bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is locked has hashes, without exception, and pip is told to refuse everything else."""
    for kind in ("install", "dev"):
        text = (ROOT / f"requirements/{kind}.txt").read_text()
        locked = re.findall(r"^[^\s#-].*(?:\n\s+.*)*", text, re.MULTILINE)
        assert len(locked) > 10
        assert not [entry for entry in locked if "==" not in entry or "--hash=sha256:" not in entry]
    ran: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "run", lambda argv, **_: ran.append(argv))
    monkeypatch.setattr(bootstrap, "installer", lambda _folder: ["pip", "install"])
    folder = clone / ".venv"
    folder.mkdir()
    bootstrap.fill(folder, clone, "install")
    installs = [argv for argv in ran if argv[:2] == ["pip", "install"]]
    assert installs == [
        ["pip", "install", "--require-hashes", "-r", str(clone / "requirements/install.txt")],
        ["pip", "install", "--no-deps", "--no-build-isolation", "-e", str(clone)],
    ]
