# SPDX-License-Identifier: Apache-2.0
"""``COVE_TOOLS=system``: programs from PATH instead of the archive, of versions that are known to work."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cove.errors import CommandError, ToolError
from cove.system.files import read_json, write_json
from cove.system.process import run
from cove.toolbox.groups import Group, Program, parse_version

_ASK_DEADLINE = 20.0


def find(group: Group, *, env: Mapping[str, str], seen: Path) -> dict[str, Path]:
    """The files of a group's programs on this host.

    Args:
        group: what is needed.
        env: the environment, for ``PATH``.
        seen: a file (JSON) where versions that were asked are remembered, by the program's path, time and
            size, so that a later start runs none of them.

    Raises:
        ToolError: programs are missing or too old; all of them are named, with how to install them.
    """
    known = read_json(seen)
    known = known if isinstance(known, dict) else {}
    before = dict(known)
    found: dict[str, Path] = {}
    problems = []
    for program in group.programs:
        try:
            found[program.name] = _find(program, env, known)
        except ToolError as error:
            problems.append(error.message)
    if problems:
        raise ToolError(
            f"COVE_TOOLS=system, but this host lacks what the toolbox {group.name!r} needs",
            details="\n".join(problems),
            hint=f"{_install(group)}, or unset COVE_TOOLS to use Cove's own.",
        )
    if known != before:
        write_json(seen, known)
    return found


def _find(program: Program, env: Mapping[str, str], known: dict[str, Any]) -> Path:
    folders = ":".join([env.get("PATH", ""), *program.elsewhere])
    place = shutil.which(program.name, path=folders)
    if place is None:
        raise ToolError(f"{program.name} was not found (looked in {folders})")
    path = Path(place).absolute()
    info = path.stat()
    mark = [info.st_mtime_ns, info.st_size, list(program.minimum)]
    if known.get(str(path)) != mark:
        _check_version(program, path)
        known[str(path)] = mark
    return path


def _check_version(program: Program, path: Path) -> None:
    if not program.ask:
        return
    try:
        done = run(
            [str(path), *program.ask], doing=f"asking {program.name} for its version", deadline=_ASK_DEADLINE
        )
    except CommandError as error:
        raise ToolError(f"{path} does not run: {error.details}") from error
    version = parse_version((done.stdout + done.stderr).decode(errors="replace"))
    if version is None:
        raise ToolError(f"{path} does not say its version")
    if version < program.minimum:
        raise ToolError(
            f"{path} is version {_dotted(version)}; {_dotted(program.minimum)} or newer is needed"
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _install(group: Group) -> str:
    if sys.platform == "darwin" and group.brew:
        return f"brew install {' '.join(group.brew)}"
    return f"apt install {' '.join(group.packages)} (or your system's packages of these names)"
