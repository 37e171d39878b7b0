# SPDX-License-Identifier: Apache-2.0
"""New settings for dockerd while it runs; those of the start are unpacked by the boot script.

Files lie in ``RUN/settings``; ``RUN/daemon.json`` is made of the image's and theirs, here as in
``usr/lib/cove/service``: the text of the one and then of the other, because of keys that stand twice dockerd takes the
last (encoding/json of Go).
"""

from __future__ import annotations

import os
import time

from cove_guest import jsonlite
from cove_guest.lean import signals
from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cove_guest.engine import Engine

IMAGE = "/etc/docker/daemon.json"
DOCKERD = "/usr/sbin/dockerd"

RELOADED = frozenset((
    "authorization-plugins", "debug", "default-runtime", "features", "insecure-registries", "labels", "live-restore",
    "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts", "registry-mirrors", "runtimes",
    "shutdown-timeout",
))  # fmt: skip
"""Keys that dockerd takes up on SIGHUP ("configuration reload behavior" in its reference)."""

_RELOAD_DEADLINE = 30.0
_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


def configure(
    run: str,
    engine: Engine,
    files: dict[str, str],
    *,
    restart: bool,
    image: str = IMAGE,
    dockerd: str = DOCKERD,
) -> dict[str, object]:
    """Replace all settings, and let dockerd take up what it can; it has when this returns.

    Args:
        run: the agent's folder.
        engine: dockerd.
        files: contents by path below ``RUN/settings``; each character is one byte.
        restart: end dockerd, whom init starts again, if something is taken up only then.
        image: the image's own daemon.json.
        dockerd: the program that checks.

    Returns:
        ``changed``: files that are other now; ``restart``: what waits for dockerd's next start.

    Raises:
        RefusedError: ``bad-argument``; ``invalid``: dockerd does not want them; nothing is changed then.
            ``deadline``, ``engine``: it did not say that it took them up.
        OSError: they cannot be written.
    """
    for name in files:
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise RefusedError("bad-argument", f"{name!r} is no path below a folder")
    old = _read_all(f"{run}/settings")
    merged = join(_read(image), files.get("daemon.json", ""))
    _write(f"{run}/daemon.json.new", merged)
    _check(dockerd, f"{run}/daemon.json.new", f"{run}/daemon.log")
    changed = sorted(name for name in {*old, *files} if old.get(name) != files.get(name))
    if changed:
        _replace(run, files)
    os.rename(f"{run}/daemon.json.new", f"{run}/daemon.json")
    waiting = _waiting(old.get("daemon.json", ""), files.get("daemon.json", ""))
    if any(name.startswith("ca/") for name in changed):
        waiting.append("authorities")
    begun = time.time()
    if changed and waiting and restart:
        _signal(run, signals.SIGTERM)
    elif changed and _signal(run, signals.SIGHUP):
        engine.wait_event("reload", begun, time.monotonic() + _RELOAD_DEADLINE)
    return {"changed": changed, "restart": [] if restart else waiting}


def join(image: str, more: str) -> str:
    """Two JSON objects as one text; see the top of the module."""
    if '"' not in more:
        return image
    if '"' not in image:
        return more
    return f"{image[: image.rindex('}')]},{more[more.index('{') + 1 :]}"


def _waiting(old: str, new: str) -> list[str]:
    """Keys that changed and that dockerd takes up only at its start."""
    before, after = _keys(old), _keys(new)
    return sorted(
        key for key in {*before, *after} if before.get(key) != after.get(key) and key not in RELOADED
    )


def _keys(text: str) -> dict[str, object]:
    value = jsonlite.loads(text) if text else {}
    return value if isinstance(value, dict) else {}


def _check(dockerd: str, path: str, log: str) -> None:
    """Let dockerd say whether it wants this file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [(os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)]
    argv = [dockerd, "--validate", "--config-file", path]
    pid = os.posix_spawn(dockerd, argv, _ENV, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    if status:
        said = _read(log).strip()
        os.unlink(path)
        raise RefusedError("invalid", said or f"dockerd ended with {os.waitstatus_to_exitcode(status)}")


def _replace(run: str, files: dict[str, str]) -> None:
    """Put the new folder in the place of the old one."""
    new, old = f"{run}/settings.new", f"{run}/settings.old"
    for left in (new, old):
        _remove(left)
    os.mkdir(new, 0o700)
    for name, text in files.items():
        os.makedirs(os.path.dirname(f"{new}/{name}"), exist_ok=True)
        _write(f"{new}/{name}", text)
    try:
        os.rename(f"{run}/settings", old)
    except FileNotFoundError:
        pass
    os.rename(new, f"{run}/settings")
    _remove(old)


def _signal(run: str, number: int) -> bool:
    """Send dockerd a signal; False when it is just being started, and reads its settings then."""
    try:
        os.kill(int(_read(f"{run}/dockerd.pid")), number)
    except (ProcessLookupError, ValueError):
        return False
    return True


def _read_all(folder: str) -> dict[str, str]:
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = f"{place}/{name}"
            found[path[len(folder) + 1 :]] = _read(path)
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(handle, "w", encoding="latin-1", newline="") as file:
        file.write(text)


def _remove(folder: str) -> None:
    for place, folders, names in os.walk(folder, topdown=False):
        for name in names:
            os.unlink(f"{place}/{name}")
        for name in folders:
            os.rmdir(f"{place}/{name}")
    if os.path.isdir(folder):
        os.rmdir(folder)
