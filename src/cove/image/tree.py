# SPDX-License-Identifier: Apache-2.0
"""The tree of an image: entries put one over the other, as a package manager would on a disk. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cove.errors import ArchiveError
from cove.image.entries import Entry, EntryKind, directory, symlink

MERGED = ("bin", "lib", "lib64", "sbin")
"""Folders that are symlinks into /usr on Debian ("merged /usr")."""

_MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)


class Tree:
    """Paths and what stands there. A later entry replaces an earlier one; a folder stays and is filled.

    Paths through symlinks end where the links lead inside the tree, so a package that ships ``lib/x`` puts it
    to ``usr/lib/x``.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._real: dict[str, str] = {"": ""}
        for name in MERGED:
            self.add(directory(f"usr/{name}"))
            self.add(symlink(name, f"usr/{name}"))

    def __contains__(self, path: str) -> bool:
        return self.get(path) is not None

    def get(self, path: str) -> Entry | None:
        """What stands at ``path``; a symlink at its end is not followed."""
        return self._entries.get(self._place(path))

    def under(self, folder: str) -> list[Entry]:
        """All entries below ``folder``, sorted by path."""
        prefix = self.real(folder) + "/"
        return sorted((e for p, e in self._entries.items() if p.startswith(prefix)), key=lambda e: e.path)

    def add(self, entry: Entry, *, parents: Entry | None = None) -> None:
        """Put ``entry`` into the tree.

        Args:
            entry: what; its path may lead through symlinks of the tree.
            parents: what missing parents look like (mode and owner); by default root's 0755.

        Raises:
            ArchiveError: a file where a folder with something in it stands, or below a file.
        """
        path = self._place(entry.path)
        self._add_parents(path, parents or directory(""), entry)
        present = self._entries.get(path)
        if present is not None and entry.kind is EntryKind.DIRECTORY:
            real = self._entries.get(self.real(path))
            if present.kind is EntryKind.SYMLINK and real is not None and real.kind is EntryKind.DIRECTORY:
                return  # as dpkg: a symlink to a folder serves as the folder
            if present.kind is not EntryKind.DIRECTORY:
                raise _clash(path, present, entry)
        elif present is not None and present.kind is EntryKind.DIRECTORY and self.under(path):
            raise _clash(path, present, entry)
        self._entries[path] = replace(entry, path=path)
        if EntryKind.SYMLINK in (entry.kind, present.kind if present else None):
            self._real = {"": ""}

    def real(self, path: str) -> str:
        """``path`` without symlinks, its last part included; what is missing is taken as it is named."""
        known = self._real.get(path)
        if known is None:
            known = self._real[path] = self._walk(path)
        return known

    def sorted(self) -> list[Entry]:
        """All entries by path, so that folders come before what they hold."""
        return [self._entries[path] for path in sorted(self._entries)]

    def _place(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        parent = self.real(folder)
        return f"{parent}/{name}" if parent else name

    def _add_parents(self, path: str, like: Entry, child: Entry) -> None:
        for parent in _parents(path):
            present = self._entries.get(parent)
            if present is None:
                self._entries[parent] = replace(directory(parent, like.mode), uid=like.uid, gid=like.gid)
            elif present.kind is not EntryKind.DIRECTORY:
                raise _clash(parent, present, child)

    def _walk(self, path: str) -> str:
        done: list[str] = []
        pending = path.split("/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            here = self._entries.get("/".join([*done, part]))
            if here is None or here.kind is not EntryKind.SYMLINK:
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise ArchiveError(f"/{path} goes through a circle of symlinks", details=here.origin)
            if here.target.startswith("/"):
                done.clear()
            pending.extend(here.target.split("/")[::-1])
        return "/".join(done)


class Dropper:
    """Says which paths are to be left out, by globs: ``*`` and ``?`` end at a slash, ``**`` does not."""

    def __init__(self, globs: Sequence[str]) -> None:
        self._pattern = re.compile("|".join(f"(?:{_regex(glob)})" for glob in globs)) if globs else None

    def __call__(self, path: str) -> bool:
        """Whether to leave out ``path``."""
        return self._pattern is not None and self._pattern.fullmatch(path) is not None


def _regex(glob: str) -> str:
    out = ""
    for token in re.split(r"(\*\*/|\*\*|\*|\?)", glob.strip("/")):
        match token:
            case "**/":
                out += "(?:.*/)?"
            case "**":
                out += ".*"
            case "*":
                out += "[^/]*"
            case "?":
                out += "[^/]"
            case _:
                out += re.escape(token)
    return out


def _parents(path: str) -> Iterator[str]:
    place = path.find("/")
    while place >= 0:
        yield path[:place]
        place = path.find("/", place + 1)


def _clash(path: str, present: Entry, entry: Entry) -> ArchiveError:
    return ArchiveError(
        f"/{path} cannot be both a {present.kind.value} and what {entry.origin} needs there",
        details=f"{present.origin}: {present.kind.value}\n{entry.origin}: {entry.kind.value} /{entry.path}",
    )
