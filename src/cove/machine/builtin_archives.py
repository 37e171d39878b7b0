# SPDX-License-Identifier: Apache-2.0
"""The archives of built-in images: found again, made once, and as a place that ``cove build`` takes images from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cove.errors import UsageError
from cove.events import Report
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform, Root
from cove.image.oci.reference import Reference
from cove.spec.machine import DEBIAN_NAMES, Architecture, architecture_named
from cove.system.files import locked, read_json, write_json
from cove.system.paths import Home
from cove.system.processor import host_machine

if TYPE_CHECKING:
    from cove.debian.archive import Archive
    from cove.image.containers import Builtin

HOST = "cove.internal"
"""The registry that the names of built-in images seem to be at; the name is reserved, nobody can have it."""

_DEADLINE = 1800.0


def builtin_named(reference: str) -> Builtin:
    """The built-in image of that name.

    Raises:
        UsageError: there is none; the details list all.
    """
    from cove.image.builtin_images import all_builtins, find_builtin

    builtin = find_builtin(reference)
    if builtin is None:
        known = "\n".join(f"{one.reference}: {one.summary}" for one in all_builtins())
        raise UsageError(f"there is no built-in image {reference}", details=known)
    return builtin


def finished_archive(
    builtin: Builtin, home: Home, architecture: Architecture, make: Callable[[Path], Path]
) -> Path:
    """The archive of a built-in image.

    Args:
        builtin: which.
        home: where the cache lies.
        architecture: for which; every one has its own.
        make: makes it in a folder and returns its path; called only if there is none, or it is an older Cove's.
    """
    folder = home.containers
    mark = "" if architecture == "x86_64" else f"-{DEBIAN_NAMES[architecture]}"
    pointer = folder / f"{builtin.name}{mark}.json"
    waiting = f"making {builtin.reference}"
    with locked(folder / f".{builtin.name}.lock", waiting_for=waiting, deadline=_DEADLINE):
        known = read_json(pointer)
        known = known if isinstance(known, dict) else {}
        former = folder / str(known["archive"]) if "archive" in known else None
        if former is not None and known.get("request") == builtin.request and former.is_file():
            return former
        archive = make(folder)
        write_json(pointer, {"archive": archive.name, "request": builtin.request})
        if former is not None and former != archive:
            former.unlink(missing_ok=True)
        return archive


class BuiltinImages:
    """Built-in images as a place to take images from; each is made when it is first asked for.

    Args:
        home: where the cache lies.
        archive: gives Debian's archive for an architecture.
        report: told of what is made.
    """

    def __init__(self, home: Home, archive: Callable[[Architecture], Archive], report: Report) -> None:
        self._home, self._archive, self._report = home, archive, report

    def find(self, reference: Reference, platforms: Sequence[Platform]) -> Root | None:
        """The built-in image of that name.

        Raises:
            UsageError: the name is ours, but there is no such image, or it is finished only in an engine.
        """
        if reference.host != HOST:
            return None
        builtin = builtin_named(str(reference))
        if builtin.second_stage is not None:
            raise UsageError(
                f"{builtin.reference} cannot be a part of an image: it is finished by an engine",
                hint=f"Put Debian packages into the image with packages:, or load {builtin.reference} into a machine "
                "and build from there with --docker.",
            )
        name = platforms[0].architecture if platforms else host_machine()
        architecture = architecture_named(name)
        path = finished_archive(
            builtin,
            self._home,
            architecture,
            lambda into: builtin.build(self._archive(architecture), into, self._report),
        )
        return Layout(path).find(reference, platforms)
