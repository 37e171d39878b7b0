# SPDX-License-Identifier: Apache-2.0
"""``/var/run/docker.sock``: where programs look for an engine that know of no context and no DOCKER_HOST.

Only root may write there, so nothing here writes: what comes of it are lines for the shell. On macOS and on nearly
every Linux ``/var/run`` is emptied when the host starts, and the link with it.
"""

from __future__ import annotations

import os
import shlex
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cove.errors import ConflictError, NotFoundError

SYSTEM_SOCKET = Path("/var/run/docker.sock")
"""The place that docker's clients have always had."""

_PATIENCE = 2.0


@dataclass(frozen=True, kw_only=True)
class Occupant:
    """What is there.

    Args:
        path: the place.
        kind: what kind of file.
        target: where a link leads; "" for anything else.
        answers: whether somebody listens there, or whoever does may not be asked by us.
        machine: the machine's socket that it leads to, of this ``COVE_HOME`` or another; "" for no machine's.
    """

    path: str
    kind: Literal["absent", "link", "socket", "other"]
    target: str = ""
    answers: bool = False
    machine: str = ""


def look(path: Path = SYSTEM_SOCKET) -> Occupant:
    """What is at a place; nothing is changed, and an engine there is not spoken to."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return Occupant(path=str(path), kind="absent")
    if stat.S_ISLNK(mode):
        target = path.parent / path.readlink()
        ours = target.name == "docker.sock" and (target.parent / "machine.json").exists()
        # a machine that was deleted leaves nothing but the form of its path
        ours = ours or (target.name == "docker.sock" and target.parent.parent.name == "m")
        return Occupant(
            path=str(path),
            kind="link",
            target=str(target),
            answers=listens(path),
            machine=str(target) if ours else "",
        )
    kind: Literal["socket", "other"] = "socket" if stat.S_ISSOCK(mode) else "other"
    return Occupant(path=str(path), kind=kind, answers=kind == "socket" and listens(path))


def listens(path: Path | str) -> bool:
    """Whether somebody listens at a unix socket; also true of one that may not be opened by us."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        tried.settimeout(_PATIENCE)
        try:
            tried.connect(os.fspath(path))
        except (PermissionError, TimeoutError):
            return True
        except OSError:
            return False
    return True


def link_line(found: Occupant, target: Path, *, force: bool = False) -> str | None:
    """The line that has ``found`` lead to a machine's socket; None if it does already. Pure.

    Args:
        found: what is there now.
        target: the machine's socket.
        force: also take the place of an engine that listens.

    Raises:
        ConflictError: another engine listens there, or it is nothing that may be replaced.
    """
    if found.kind == "link" and found.target == str(target):
        return None
    if found.kind == "other":
        raise ConflictError(
            f"{found.path} is neither a socket nor a link", hint="See what it is: ls -l /var/run"
        )
    if found.answers and not found.machine and not force:
        where = f", which leads to {found.target}" if found.target else ""
        raise ConflictError(
            f"another engine listens at {found.path}{where}",
            hint="Stop it first, or take its place nevertheless: --force",
        )
    return f"sudo ln -sfn {shlex.quote(str(target))} {shlex.quote(found.path)}"


def unlink_line(found: Occupant) -> str:
    """The line that takes a machine's link away. Pure.

    Raises:
        NotFoundError: it does not lead to a machine.
    """
    if not found.machine:
        raise NotFoundError(f"{found.path} does not lead to a machine of Cove's")
    return f"sudo rm {shlex.quote(found.path)}"
