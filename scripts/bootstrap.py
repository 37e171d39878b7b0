# SPDX-License-Identifier: Apache-2.0
"""Make or refresh the virtual environment of a clone, before anything is installed: standard library only.

Usage: bootstrap.py CLONE KIND STAMP SPARE

Puts requirements/KIND.txt (every file checked against its hash) and Cove itself, editable, into CLONE/.venv,
or into SPARE when the clone may not be written to, and prints the folder on stdout; all else goes to stderr.
The stamp (text that scripts/setup.sh compares on every later call) is written last, so an environment without
one is half-made and is emptied first. Two at once: the second waits and finds the work of the first done.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOCK = "cove.lock"
WAIT = 900.0
"""Seconds to wait for another set-up of the same clone."""

NO_PIP = """cove: this Python cannot install packages: it has neither ensurepip nor pip, and there is no uv
hint: install one of them, for example `apt install python3-venv`, then run the same command again"""


class SetupError(Exception):
    """The set-up failed; the text says why and what to do."""


def say(text: str) -> None:
    """Tell the user: stdout belongs to the program that is started afterwards."""
    print(text, file=sys.stderr, flush=True)


def run(argv: list[str], cwd: str | None = None) -> None:
    """Run a program quietly; when it fails show all that it printed."""
    # PIP_USER would make pip refuse to install into a virtual environment
    env = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    env.pop("PYTHONHOME", None)
    env.pop("PYTHONPATH", None)
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, check=False,
        cwd=cwd,
    )  # fmt: skip
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace").rstrip()
        command = " ".join(argv)
        raise SetupError(f"cove: the set-up failed\n$ {command}\n(exit code {done.returncode})\n{output}")


def base_python() -> str:
    """The interpreter's real file: python3.11, not python3, which may be another version tomorrow."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def lock(folder: Path) -> int | None:
    """The lock on the environment in ``folder``, or None when the folder may not be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    end = time.monotonic() + WAIT
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > end:
                raise SetupError(f"cove: another set-up has held {folder / LOCK} for {WAIT:.0f} s") from None
            if not told:
                say("cove: waiting for another set-up of this clone")
                told = True
            time.sleep(0.1)


def empty(folder: Path) -> None:
    """Remove all in ``folder`` but the lock, which others may be waiting on."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


def installer(folder: Path) -> list[str]:
    """The start of an install command that fills the environment in ``folder``."""
    python = str(folder / "bin" / "python")
    if list(folder.glob("lib/python3*/site-packages/pip/__main__.py")):
        return [python, "-m", "pip", "install", "--quiet"]
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", python]
    if importlib.util.find_spec("pip"):
        return [base_python(), "-m", "pip", "--python", python, "install", "--quiet"]
    raise SetupError(NO_PIP)


def create(folder: Path) -> None:
    """Make an empty environment, with pip in it where Python can do that."""
    has_pip = importlib.util.find_spec("ensurepip") is not None
    run([base_python(), "-m", "venv", *([] if has_pip else ["--without-pip"]), str(folder)])
    if not has_pip and not shutil.which("uv") and not importlib.util.find_spec("pip"):
        pip_from_apt(folder)


def pip_from_apt(folder: Path) -> None:
    """Put pip into an environment on a Debian whose Python came without it (no python3-venv).

    apt may download for everybody, and checks what it downloads; nothing is installed on the host.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise SetupError(NO_PIP)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            run(["apt-get", "download", "--quiet", "python3-pip-whl"], cwd=scratch)
            (package,) = Path(scratch).glob("python3-pip-whl_*.deb")
            run(["dpkg-deb", "--extract", str(package), scratch])
            (wheel,) = Path(scratch).glob("usr/share/python-wheels/pip-*.whl")
        except (SetupError, ValueError) as error:
            raise SetupError(f"{NO_PIP}\n(apt-get download python3-pip-whl: {error})") from error
        run([str(folder / "bin" / "python"), f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel)])


def complete(folder: Path) -> bool:
    """Whether an earlier set-up came to its end and its Python still runs."""
    python = folder / "bin" / "python"
    return any(folder.glob("cove-*.stamp")) and os.access(python, os.X_OK)


def fill(folder: Path, clone: Path, kind: str) -> None:
    """Bring ``folder`` to what the lock says; without a stamp until the caller writes it."""
    usable = complete(folder)
    for stamp in folder.glob("cove-*.stamp"):
        stamp.unlink()
    if not usable:
        empty(folder)
        create(folder)
    install = installer(folder)
    run([*install, "--require-hashes", "-r", str(clone / "requirements" / f"{kind}.txt")])
    run([*install, "--no-deps", "--no-build-isolation", "-e", str(clone)])


def setup(clone: Path, kind: str, stamp: str, spare: Path) -> Path:
    """Do the whole set-up; returns the folder of the environment."""
    for folder in (clone / ".venv", spare):
        handle = lock(folder)
        if handle is not None:
            break
    else:
        raise SetupError(
            f"cove: neither {clone / '.venv'} nor {spare} can be written to\n"
            "hint: set COVE_HOME to a folder that you may write to"
        )
    try:
        mark = folder / f"cove-{kind}.stamp"
        if mark.is_file() and mark.read_text() == stamp and complete(folder):
            return folder
        begun = time.monotonic()
        say(f"cove: setting up (once) in {folder}")
        fill(folder, clone, kind)
        # what the tests need includes what running needs
        for name in {kind, "install"}:
            (folder / f"cove-{name}.stamp").write_text(stamp)
        say(f"cove: set up in {time.monotonic() - begun:.1f} s")
        return folder
    finally:
        os.close(handle)


def main(arguments: list[str]) -> int:
    """Run the set-up; returns the exit code."""
    clone, kind, stamp, spare = arguments
    try:
        print(setup(Path(clone), kind, stamp, Path(spare)))
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("cove: the set-up was interrupted; the next run begins it again")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
