# SPDX-License-Identifier: Apache-2.0
"""The toolbox: programs that Cove needs, ready to be started.

docker = ensure("docker", archive=lambda: archive, tools=home.tools, report=report)
run(docker.command("docker").with_args("version"), ...)
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cove.debian.lock import Lock
from cove.errors import NotFoundError
from cove.events import Report, silent, stage
from cove.system.files import building, locked, read_json, remove_tree, write_json
from cove.system.process import Command
from cove.toolbox import prefix
from cove.toolbox.groups import group_of
from cove.toolbox.launch import Form, argv, interpreter
from cove.toolbox.model import Group


class Source(Protocol):
    """What is needed of :class:`cove.debian.archive.Archive`."""

    def resolve(self, wanted: tuple[str, ...], *, exclude: tuple[str, ...] = ()) -> Lock:
        """From names to locked packages."""

    def fetch(self, lock: Lock) -> dict[str, Path]:
        """From locked packages to verified .deb files."""


@dataclass(frozen=True, kw_only=True)
class ToolFile:
    """Where a program comes from, for ``cove explain``.

    Args:
        program: its name.
        path: its file.
        sha256: digest of the file as it is now.
        package: the Debian package; None for a program of the host.
        version: the package's version.
        deb_sha256: digest of the .deb, as Debian signed for it.
        suite: the suite it was found in.
        patched: the file differs from the package's in its loader and library path.
    """

    program: str
    path: Path
    sha256: str
    package: str | None = None
    version: str | None = None
    deb_sha256: str | None = None
    suite: str | None = None
    patched: bool = False


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """One group of programs.

    Args:
        group: what it holds.
        root: its prefix; None when the programs are the host's own.
        architecture: Debian's name of the architecture.
        forms: how each program of the prefix is started.
        found: the host's programs, when there is no prefix.
    """

    group: Group
    root: Path | None
    architecture: str
    forms: Mapping[str, Form]
    found: Mapping[str, Path]

    def command(self, name: str) -> Command:
        """The command that starts a program; the caller adds arguments.

        Raises:
            NotFoundError: the group has no such program.
        """
        program = self.group.program(name)
        if self.root is None:
            return Command((str(self.found[name]),), {})
        start = argv(
            self.root / program.path, name=name, root=self.root, architecture=self.architecture,
            form=self.forms[name],
        )  # fmt: skip
        return Command(start, prefix.environment(program, self.root, self.architecture))

    def path(self, below: str) -> Path:
        """A file or folder of the packages, such as ``usr/share/qemu``.

        Raises:
            NotFoundError: the programs are the host's own, which find their files themselves.
        """
        if self.root is None:
            raise NotFoundError(f"there is no {below} of Cove's own with COVE_TOOLS=system")
        return self.root / below

    @property
    def firmware(self) -> tuple[Path, ...]:
        """Folders for QEMU's ``-L``; none when the host's QEMU is used, which knows its own."""
        if self.root is None:
            return ()
        folders = (self.root / "usr/share/qemu", self.root / "usr/share/seabios")
        return tuple(folder for folder in folders if folder.is_dir())

    def executable(self, name: str) -> Path:
        """One file that other programs, or the user's PATH, can use for a program: a script around it.

        Raises:
            NotFoundError: the group has no such program, or no script for it.
        """
        program = self.group.program(name)
        if self.root is None:
            return self.found[name]
        if not program.wrapped:
            raise NotFoundError(f"there is no script for {name}")
        return self.root / prefix.WRAPPERS / name

    def adopt(self, program: Path, into: Path) -> None:
        """Make a copy of another dynamic program of Debian's that can be started here, with this group's libraries.

        Args:
            program: its file, which need not be executable.
            into: the copy, for its owner alone.

        Raises:
            ToolError: it cannot be made to run.
        """
        from cove.system.sparse import copy_sparse  # slow to load, and seldom needed

        copy_sparse(program, into)
        into.chmod(0o700)
        if self.root is not None and interpreter(into) is not None:
            prefix.patch(into, self.root, self.architecture)

    @property
    def plugins(self) -> dict[str, Path]:
        """Docker's plugins by name, as executables."""
        return {
            program.name: self.executable(program.name)
            for program in self.group.programs
            if program.wrapped and program.name.startswith("docker-")
        }

    def packages(self) -> tuple[ToolFile, ...]:
        """Where each program comes from; reads and digests the files (some hundred MB a second)."""
        lock = self.lock()
        return tuple(self._tool_file(program.name, lock) for program in self.group.programs)

    def lock(self) -> Lock | None:
        """Which packages the prefix was made of; None when the programs are the host's own."""
        return Lock.from_json((self.root / prefix.LOCK).read_text()) if self.root else None

    def _tool_file(self, name: str, lock: Lock | None) -> ToolFile:
        program = self.group.program(name)
        path = self.root / program.path if self.root else self.found[name]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        package = lock.get(program.package) if lock else None
        if package is None:
            return ToolFile(program=name, path=path, sha256=digest)
        return ToolFile(
            program=name, path=path, sha256=digest, package=package.name, version=package.version,
            deb_sha256=package.sha256, suite=package.suite, patched=self.forms[name] == "patched",
        )  # fmt: skip


def ensure(
    group: str | Group,
    *,
    archive: Callable[[], Source],
    tools: Path,
    report: Report = silent,
    architecture: str = "amd64",
    refresh: bool = False,
    env: Mapping[str, str] | None = None,
) -> Toolbox:
    """Have a group of programs ready, and make its prefix first if needed.

    When there is one already this reads one small file and looks at the sizes of the programs and libraries:
    no network, no resolving. A prefix that is damaged or gone is made anew. Several processes may do this at
    once; one makes it, the others wait. Whatever interrupts it, no half-made prefix stays.

    Args:
        group: the group or its name.
        archive: makes the archive; called only when something must be fetched.
        tools: folder of all prefixes.
        report: told of progress.
        architecture: Debian's name of the architecture.
        refresh: look for newer versions also when there is a prefix. The old one stays for who runs from it,
            until :func:`unused` names it.
        env: the environment, for ``COVE_TOOLS`` and ``PATH``; the process's own by default.

    Raises:
        NotFoundError: there is no such group.
        ToolError: a program cannot be made to run; under ``COVE_TOOLS=system``: it is missing or too old.
        CoveError: whatever the archive raises: NetworkError, OfflineError, IntegrityError, ResolveError...
        StorageError: the disk is full or not writable.
    """
    wanted = group_of(group) if isinstance(group, str) else group
    env = os.environ if env is None else env
    tools = tools.absolute()
    if env.get("COVE_TOOLS") == "system" or sys.platform == "darwin":
        from cove.toolbox.system import find

        found = find(wanted, env=env, seen=tools / f"system-{wanted.name}.json")
        return Toolbox(group=wanted, root=None, architecture=architecture, forms={}, found=found)
    key = prefix.definition(wanted, architecture, tools)
    if not refresh and (ready := _ready(wanted, key, tools, architecture)):
        return ready
    with locked(
        tools / f".{wanted.name}.lock", waiting_for=f"making the toolbox {wanted.name}", deadline=1800
    ):
        if not refresh and (ready := _ready(wanted, key, tools, architecture)):
            return ready
        return _make(wanted, key, source=archive(), tools=tools, report=report, architecture=architecture)


def unused(tools: Path) -> list[Path]:
    """Prefixes that no pointer names, for ``cove cache prune``. Programs may still be running from them."""
    pointers = [read_json(path) for path in tools.glob("*.json")]
    named = {pointer.get("prefix") for pointer in pointers if isinstance(pointer, dict)}
    if not tools.is_dir():
        return []
    # hidden ones are being made
    return sorted(
        path for path in tools.iterdir()
        if path.is_dir() and path.name not in named and not path.name.startswith(".")
    )  # fmt: skip


def _ready(group: Group, key: str, tools: Path, architecture: str) -> Toolbox | None:
    pointer: Any = read_json(tools / f"{group.name}.json")
    if not isinstance(pointer, dict) or pointer.get("key") != key:
        return None
    root = tools / str(pointer["prefix"])
    if not prefix.whole(root, pointer["files"]):
        return None
    return Toolbox(group=group, root=root, architecture=architecture, forms=pointer["forms"], found={})


def _make(
    group: Group, key: str, *, source: Source, tools: Path, report: Report, architecture: str
) -> Toolbox:
    with stage(report, f"tools-{group.name}", f"Making the toolbox {group.name}"):
        lock = source.resolve(group.packages, exclude=group.exclude)
        root = tools / prefix.prefix_name(group, key, lock)
        pointer = read_json(tools / f"{group.name}.json")
        if (
            isinstance(pointer, dict)
            and pointer.get("prefix") == root.name
            and (ready := _ready(group, key, tools, architecture))
        ):
            return ready  # a refresh that found nothing newer
        debs = source.fetch(lock)
        remove_tree(root)  # damaged, or made by someone who died before writing the pointer
        for left in tools.glob(f".{group.name}-{'[0-9a-f]' * 12}.*"):
            remove_tree(left)  # by someone who was killed; we hold the lock
        with building(root) as scratch:
            forms = prefix.fill(scratch, root, group=group, architecture=architecture, lock=lock, debs=debs)
        files = prefix.contents(root, group, architecture)
        write_json(
            tools / f"{group.name}.json", {"key": key, "prefix": root.name, "forms": forms, "files": files}
        )
        return Toolbox(group=group, root=root, architecture=architecture, forms=forms, found={})
