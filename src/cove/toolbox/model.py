# SPDX-License-Identifier: Apache-2.0
"""A program and a group of programs, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cove.errors import NotFoundError
from cove.spec.versions import Version


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program.

    Args:
        name: what it is called on PATH, and its argv[0].
        path: its file below the prefix.
        package: the Debian package that holds the file.
        minimum: the oldest version that works, for programs that Cove did not choose itself.
        ask: arguments that make it print its version.
        env: variables it needs; ``{root}`` and ``{lib}`` stand for the prefix and its library folder.
        patched: it is a User-Mode Linux, which cannot be started through a loader: a copy gets the prefix's loader
            and a guard against stops (:mod:`cove.toolbox.stop_guard`) written into it.
        wrapped: other programs start it too, so there is a shell script for it.
        elsewhere: folders besides PATH where distributions put it.
    """

    name: str
    path: str
    package: str
    minimum: Version
    ask: tuple[str, ...] = ("--version",)
    env: Mapping[str, str] = field(default_factory=dict)
    patched: bool = False
    wrapped: bool = False
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Group:
    """Programs that are fetched together.

    Args:
        name: the group.
        packages: Debian packages to start from.
        programs: what is used of them.
        exclude: dependencies that are not fetched, because only unused parts need them.
        drop: files and folders of the packages that are not kept.
        brew: Homebrew's packages with the same programs.
    """

    name: str
    packages: tuple[str, ...]
    programs: tuple[Program, ...]
    exclude: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    brew: tuple[str, ...] = ()

    def program(self, name: str) -> Program:
        """One of its programs.

        Raises:
            NotFoundError: it has no such program.
        """
        for program in self.programs:
            if program.name == name:
                return program
        raise NotFoundError(f"the toolbox {self.name!r} has no program {name!r}")
