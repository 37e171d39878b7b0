# SPDX-License-Identifier: Apache-2.0
"""What starts a machine when its user logs in: a unit for systemd (Linux), an agent for launchd (macOS). Pure.

Sources: systemd.unit(5), systemd.service(5), systemd.syntax(7); launchd.plist(5).
"""

from __future__ import annotations

import plistlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers.expat import ExpatError

START_DEADLINE = 900
"""Seconds that a start may take: the first one fetches and builds everything."""

STOP_DEADLINE = 60
"""Seconds that a stop may take, with what is killed after it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be started and stopped.

    Args:
        machine: its name.
        start: the command that starts it, and ends when it runs.
        stop: the command that stops it.
        env: what both need in their environment.
        log: where launchd puts what they say; systemd has its journal.
    """

    machine: str
    start: Sequence[str]
    stop: Sequence[str]
    env: Mapping[str, str]
    log: Path


def unit_name(machine: str) -> str:
    """The unit's name."""
    return f"cove-{machine}.service"


def agent_label(machine: str) -> str:
    """The launchd agent's label."""
    return f"internal.cove.{machine}"


def unit(job: Job) -> str:
    """A user's unit for systemd.

    ``oneshot``: the command ends when the machine runs, which goes on in the unit's control group. A logout, or the
    end of the host, stops it in order.
    """
    settings = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n" for name, value in sorted(job.env.items())
    )
    return (
        "[Unit]\n"
        f"Description=Cove machine {job.machine}\n"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        "RemainAfterExit=yes\n"
        f"{settings}"
        f"ExecStart={_command(job.start)}\n"
        f"ExecStop={_command(job.stop)}\n"
        f"TimeoutStartSec={START_DEADLINE}\n"
        f"TimeoutStopSec={STOP_DEADLINE}\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def agent(job: Job) -> bytes:
    """An agent for launchd. It has no command to stop: a machine's supervisor stops it when macOS ends a session."""
    return plistlib.dumps(
        {
            "Label": agent_label(job.machine),
            "ProgramArguments": list(job.start),
            "EnvironmentVariables": dict(job.env),
            "RunAtLoad": True,
            # the command ends when the machine runs: launchd must leave the supervisor alone then
            "AbandonProcessGroup": True,
            "ProcessType": "Interactive",
            "StandardOutPath": str(job.log),
            "StandardErrorPath": str(job.log),
        }
    )


def belongs(contents: bytes, home: str) -> bool:
    """Whether a unit or agent of ours is about a machine of this ``COVE_HOME``.

    Args:
        contents: what :func:`unit` or :func:`agent` gave.
        home: the folder.
    """
    if contents.startswith(b"["):
        return f"Environment={_quoted(f'COVE_HOME={home}')}\n".encode() in contents
    try:
        settings = plistlib.loads(contents)["EnvironmentVariables"]
    except (plistlib.InvalidFileException, ExpatError, ValueError, LookupError, TypeError):
        return False
    return isinstance(settings, dict) and settings.get("COVE_HOME") == home


def _command(words: Sequence[str]) -> str:
    # a dollar would begin a variable
    return " ".join(_quoted(word).replace("$", "$$") for word in words)


def _quoted(word: str) -> str:
    """A word in double quotes, without specifiers (``%h``)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{escaped}"'
