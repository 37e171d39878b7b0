# SPDX-License-Identifier: Apache-2.0
"""``COVE_TOOLS=system``: programs from PATH instead of the archive, of versions that are known to work."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cove.errors import CommandError, ToolError
from cove.spec.versions import dotted, parse_version
from cove.system.files import read_json, write_json
from cove.system.mac_host import search_path
from cove.system.process import run
from cove.toolbox.model import Group, Program

_ASK_DEADLINE = 20.0


def find(
    group: Group, *, env: Mapping[str, str], seen: Path, platform: str = sys.platform
) -> dict[str, Path]:
    """The files of a group's programs on this host.

    Args:
        group: what is needed.
        env: the environment, for ``PATH``.
        seen: a file (JSON) where versions that were asked are remembered, by the program's path, time and
            size, so that a later start runs none of them.
        platform: the system, as Python names it; on a Mac Homebrew's folders are looked into as well.

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
            found[program.name] = _find(program, env, known, platform)
        except ToolError as error:
            problems.append(error.message)
    if problems:
        raise _missing(group, problems, platform)
    if known != before:
        write_json(seen, known)
    return found


def _find(program: Program, env: Mapping[str, str], known: dict[str, Any], platform: str) -> Path:
    path = search_path(env) if platform == "darwin" else env.get("PATH", "")
    folders = ":".join([path, *program.elsewhere])
    place = shutil.which(program.name, path=folders)
    if place is None:
        raise ToolError(f"{program.name} was not found (looked in {folders})")
    file = Path(place).absolute()
    info = file.stat()
    mark = [info.st_mtime_ns, info.st_size, list(program.minimum)]
    if known.get(str(file)) != mark:
        _check_version(program, file)
        known[str(file)] = mark
    return file


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
        raise ToolError(f"{path} is version {dotted(version)}; {dotted(program.minimum)} or newer is needed")


def _missing(group: Group, problems: list[str], platform: str) -> ToolError:
    details = "\n".join(problems)
    if platform == "darwin":
        return ToolError(
            f"this Mac lacks what the toolbox {group.name!r} needs",
            details=details,
            hint=f"brew install {' '.join(group.brew)}",
        )
    install = f"apt install {' '.join(group.packages)} (or your system's packages of these names)"
    return ToolError(
        f"COVE_TOOLS=system, but this host lacks what the toolbox {group.name!r} needs",
        details=details,
        hint=f"{install}, or unset COVE_TOOLS to use Cove's own.",
    )
