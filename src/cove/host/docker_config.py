# SPDX-License-Identifier: Apache-2.0
"""The configuration folder of the docker CLI that Cove runs: the user's own through links, plus our plugins.

Docker finds its plugins in ``$DOCKER_CONFIG/cli-plugins`` and has no variable for a further folder, so it
gets a folder of ours. In it each entry of the user's folder (``$DOCKER_CONFIG`` or ``~/.docker``) is a link,
so that logins, contexts and builders are the user's own, and what docker saves lands there (docker follows
the link when it replaces config.json). Only ``cli-plugins`` is a real folder: links to our plugins and to the
user's; on a clash the user's wins, unless it is a link into nothing, as an uninstalled Docker Desktop leaves.

What docker creates while the user has no such entry stays in our folder. When the user's folder gets an entry
of that name later, ours is renamed to ``NAME.cove-kept`` and the user's is linked: nothing is merged or lost.

Limit: docker replaces config.json by rename, which needs ``COVE_HOME`` and the user's folder on one file
system; ``docker login`` says so otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cove.system.files import locked, private_folder, storage_errors, write_atomic

PLUGINS = "cli-plugins"
KEPT = ".cove-kept"
LOCK = ".cove.lock"


def user_folder(env: Mapping[str, str], ours: Path) -> Path | None:
    """The user's own configuration folder, which need not exist; None if nothing says where.

    A ``DOCKER_CONFIG`` that is already ours (Cove below a program that Cove started) does not count.
    """
    named = env.get("DOCKER_CONFIG")
    if named and Path(named).absolute() not in (ours, ours.with_name(f"{ours.name}-build")):
        return Path(named).absolute()
    return Path(env["HOME"]).absolute() / ".docker" if env.get("HOME") else None


def environment(socket: Path, config: Path) -> dict[str, str]:
    """What docker's clients need in their environment to talk to a machine.

    Args:
        socket: the engine's socket on the host.
        config: the folder that :func:`refresh` made.
    """
    # an endpoint of the user's own may have set TLS up, which a unix socket refuses; empty means unset
    return {
        "DOCKER_HOST": f"unix://{socket}",
        "DOCKER_CONFIG": str(config),
        "DOCKER_TLS_VERIFY": "",
        "DOCKER_TLS": "",
    }


def refresh(ours: Path, *, user: Path | None, plugins: Mapping[str, Path], config: str | None = None) -> None:
    """Bring our folder up to date; a few calls of readlink when nothing changed. Two at once are fine.

    Args:
        ours: our folder; made if needed.
        user: the user's folder, see :func:`user_folder`.
        plugins: our plugins' programs by name: ``docker-compose``.
        config: a config.json of its own, instead of the link to the user's; what docker saves there is lost.

    Raises:
        StorageError: our folder cannot be written.
    """
    with storage_errors("preparing docker's configuration"):
        private_folder(ours / PLUGINS)
        theirs = _entries(user / PLUGINS if user else None)
        working = {name: path for name, path in theirs.items() if path.exists()}
        top = {name: path for name, path in _entries(user).items() if name not in (PLUGINS, LOCK)}
        if user and user.is_dir():
            # also when it is not there yet: docker then creates it where the user's other clients see it
            top["config.json"] = user / "config.json"
        if config is not None:
            top.pop("config.json", None)
        wanted = {ours: top, ours / PLUGINS: {**plugins, **working}}
        if any(_differences(folder, links) for folder, links in wanted.items()):
            with locked(ours / LOCK, waiting_for="preparing docker's configuration", deadline=30):
                for folder, links in wanted.items():
                    _relink(folder, links)
        if config is not None and _text(ours / "config.json") != config:
            write_atomic(ours / "config.json", config)


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _entries(folder: Path | None) -> dict[str, Path]:
    try:
        return {path.name: path for path in folder.iterdir()} if folder else {}
    except OSError:  # absent, or not ours to read: docker would not see it either
        return {}


def _differences(folder: Path, wanted: Mapping[str, Path]) -> dict[str, Path | None]:
    """Names in ``folder`` that must become a link, or (None) must not be one any more."""
    with os.scandir(folder) as entries:
        present = {entry.name: _target(entry) for entry in entries}
    changes: dict[str, Path | None] = {
        name: target for name, target in wanted.items() if present.get(name) != str(target)
    }
    return changes | {name: None for name, link in present.items() if link is not None and name not in wanted}


def _target(entry: os.DirEntry[str]) -> str | None:
    """Where a link leads; None for anything else."""
    try:
        return os.readlink(entry) if entry.is_symlink() else None  # noqa: PTH115 (as text, and fast)
    except FileNotFoundError:  # another process is at work; the lock decides
        return ""


def _relink(folder: Path, wanted: Mapping[str, Path]) -> None:
    for name, target in _differences(folder, wanted).items():
        path = folder / name
        if target is None:
            path.unlink(missing_ok=True)
            continue
        if not path.is_symlink() and path.exists():
            path.replace(folder / f"{name}{KEPT}")
        scratch = folder / f".{name}.new"
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(target)
        scratch.replace(path)
