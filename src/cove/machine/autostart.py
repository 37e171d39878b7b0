# SPDX-License-Identifier: Apache-2.0
"""Start a machine whenever its user logs in: write, enable and remove its unit (systemd) or agent (launchd)."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cove.errors import CommandError, ToolError, UsageError
from cove.host.autostart import Job, agent, agent_label, belongs, unit, unit_name
from cove.machine.store import Machine
from cove.system.files import write_atomic
from cove.system.process import run

_DEADLINE = 60.0
_KEPT = ("COVE_HOME", "COVE_CACHE", "COVE_TOOLS", "COVE_DEBIAN_MIRROR", "HOMEBREW_PREFIX", "PATH")
"""Settings that a machine's start depends on, and a login's services do not have."""


@dataclass(frozen=True, kw_only=True)
class Autostart:
    """Whether a machine starts by itself.

    Args:
        enabled: whether it does, at the next login.
        file: where its unit or agent lies.
        manager: "systemd" or "launchd".
        loaded: whether the manager knows of it already; it cannot be asked where it does not run.
    """

    enabled: bool
    file: Path
    manager: str
    loaded: bool


def enable(machine: Machine, env: Mapping[str, str], *, platform: str = sys.platform) -> Autostart:
    """Have a machine started at each login from now on; it is not started now.

    Raises:
        UsageError: nothing says where the user's units belong.
        ToolError, CommandError: the manager refused; nothing is left then.
        StorageError: it cannot be written.
    """
    place = _place(machine.name, env, platform)
    job = _job(machine, env)
    write_atomic(place, agent(job) if platform == "darwin" else unit(job).encode(), mode=0o644)
    try:
        if platform == "darwin":
            _launchctl(["bootstrap", f"gui/{os.getuid()}", str(place)], env)
        elif _systemd_runs(env):
            _systemctl(["enable", unit_name(machine.name)], env)
            _systemctl(["daemon-reload"], env)
        else:
            _link(place)
    except (CommandError, ToolError):
        place.unlink(missing_ok=True)
        raise
    return status(machine.name, env, platform=platform)


def disable(name: str, env: Mapping[str, str], *, platform: str = sys.platform) -> bool:
    """Have a machine started at logins no more; a running one goes on. Says whether it was enabled."""
    place = _place(name, env, platform)
    was = place.exists()
    if platform == "darwin":
        if was:
            _launchctl(["bootout", f"gui/{os.getuid()}/{agent_label(name)}"], env, may_fail=True)
    elif was and _systemd_runs(env):
        _systemctl(["disable", unit_name(name)], env)
    _wanted(place).unlink(missing_ok=True)
    place.unlink(missing_ok=True)
    if was and platform != "darwin" and _systemd_runs(env):
        _systemctl(["daemon-reload"], env)
    return was


def status(name: str, env: Mapping[str, str], *, platform: str = sys.platform) -> Autostart:
    """Whether a machine starts at logins."""
    place = _place(name, env, platform)
    if platform == "darwin":
        loaded = place.exists() and _launchctl(
            ["print", f"gui/{os.getuid()}/{agent_label(name)}"], env, may_fail=True
        )
        return Autostart(enabled=place.exists(), file=place, manager="launchd", loaded=loaded)
    return Autostart(
        enabled=_wanted(place).exists(),
        file=place,
        manager="systemd",
        loaded=_systemd_runs(env) and place.exists(),
    )


def started_at_logins(home: Path, env: Mapping[str, str], *, platform: str = sys.platform) -> dict[str, Path]:
    """The machines of one ``COVE_HOME`` that start at logins, whether they are there or not, and their files.

    Raises:
        UsageError: nothing says where the user's units belong.
    """
    pattern = _place("*", env, platform)
    before, _, after = pattern.name.partition("*")
    found = {}
    for file in sorted(pattern.parent.glob(pattern.name)):
        if file.is_file() and belongs(file.read_bytes(), str(home)):
            found[file.name.removeprefix(before).removesuffix(after)] = file
    return found


def _job(machine: Machine, env: Mapping[str, str]) -> Job:
    cove = [sys.executable, "-m", "cove"]
    kept = {name: env[name] for name in _KEPT if env.get(name)}
    return Job(
        machine=machine.name,
        start=[*cove, "start", machine.name],
        stop=[*cove, "stop", machine.name],
        env={**kept, "COVE_HOME": str(machine.paths.root.parent.parent)},
        log=machine.paths.autostart_log,
    )


def _place(name: str, env: Mapping[str, str], platform: str) -> Path:
    home = env.get("HOME")
    if not home:
        raise UsageError("HOME is not set, so nothing says where services of this user belong")
    if platform == "darwin":
        return Path(home, "Library/LaunchAgents", f"{agent_label(name)}.plist")
    settings = Path(env.get("XDG_CONFIG_HOME") or Path(home, ".config"))
    return settings / "systemd/user" / unit_name(name)


def _wanted(place: Path) -> Path:
    """What enabling makes: a link in the folder of what the login target wants."""
    return place.parent / "default.target.wants" / place.name


def _link(place: Path) -> None:
    """Enable without a running systemd, as systemctl itself does it offline: it counts at the next login."""
    link = _wanted(place)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(place)


def _systemd_runs(env: Mapping[str, str]) -> bool:
    """Whether the user's own systemd can be reached: it has a socket of its own besides the bus."""
    runtime = env.get("XDG_RUNTIME_DIR")
    return bool(runtime) and Path(str(runtime), "systemd/private").is_socket()


def _systemctl(arguments: Sequence[str], env: Mapping[str, str]) -> None:
    run([_find("systemctl", env), "--user", *arguments], doing="asking systemd", deadline=_DEADLINE)


def _launchctl(arguments: Sequence[str], env: Mapping[str, str], *, may_fail: bool = False) -> bool:
    try:
        run([_find("launchctl", env), *arguments], doing="asking launchd", deadline=_DEADLINE)
    except CommandError:
        if not may_fail:
            raise
        return False
    return True


def _find(name: str, env: Mapping[str, str]) -> str:
    found = shutil.which(name, path=f"{env.get('PATH', '')}:/usr/bin:/bin")
    if found is None:
        raise ToolError(f"{name} was not found")
    return found
