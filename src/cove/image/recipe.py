# SPDX-License-Identifier: Apache-2.0
"""Recipes: what a guest image is made of, as data. Pure.

The form is LinuxKit's YAML (docs/yaml.md of linuxkit/linuxkit), with Debian packages in the place of OCI
images. Several files are merged left to right as LinuxKit merges them: of each of the kernel's fields the
last non-empty one wins, lists are appended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

from cove.errors import UsageError
from cove.image.marked import Marked, Problem, raise_problems, read_yaml
from cove.image.schema import check

INIT = "rootfs/initramfs/init"
"""The source that becomes ``/init`` of the initramfs unless the recipe names another."""

_HINT = "Correct the file; DESIGN.md lists the keys that a recipe may have."


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """The kernel and the initramfs it starts with.

    Args:
        package: the Debian package; a meta package is followed to the real one.
        external: take only its modules; the kernel itself comes from elsewhere.
        binary: path of the kernel in the package; by default the place where Debian puts it.
        cmdline: the kernel's command line; what runs the image adds to it.
        init: the script that becomes ``/init`` of the initramfs, a path below the sources (:data:`INIT`).
        modules: names of those that the initramfs loads, dependencies are added.
    """

    package: str = ""
    external: bool = False
    binary: str = ""
    cmdline: str = ""
    init: str = ""
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Packages:
    """The Debian packages that the root is made of.

    Args:
        include: names; what they depend on is added.
        exclude: names that are never pulled in.
        drop: globs of paths of packages to leave out; ``*`` ends at a slash, ``**`` does not.
        applets: link each of busybox's applets that no package provides, in /usr/bin.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    applets: bool = False


class Kind(Enum):
    """What an entry of ``files`` makes; the value is its key."""

    DIRECTORY = "directory"
    SYMLINK = "symlink"
    CONTENTS = "contents"
    SOURCE = "source"


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One entry of ``files``.

    Args:
        path: in the image, relative.
        kind: what it makes.
        value: the symlink's target, the contents, or the source's path; "" for a directory.
        mode: permission bits; None means 0600, 0700 for a directory, and 0755 or 0644 for what a
            ``source`` that is a folder or a glob brings.
        uid: owner.
        gid: group.
        optional: a source that is missing is left out silently.
        where: file and line, for messages.
    """

    path: str
    kind: Kind
    value: str = ""
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    optional: bool = False
    where: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole image."""

    kernel: Kernel = Kernel()
    packages: Packages = Packages()
    files: tuple[FileEntry, ...] = ()


def parse_recipe(text: str, file: str) -> Recipe:
    """Read one recipe.

    Args:
        text: its YAML.
        file: its name, for messages.

    Raises:
        UsageError: it is not YAML, or not a recipe: the details list every problem with file, line and key.
    """
    return load_recipes([(file, text)])


def load_recipes(texts: Sequence[tuple[str, str]]) -> Recipe:
    """Read and merge several recipes.

    Args:
        texts: pairs of name and YAML, in the order in which they are merged.

    Raises:
        UsageError: the details list every problem of all of them.
    """
    documents = [read_yaml(text, file) for file, text in texts]
    problems: list[Problem] = []
    for document in documents:
        found = check(document)
        problems.extend(found or _check_files(document))
    raise_problems(problems, _HINT)
    merged = Recipe()
    for document in documents:
        merged = merge(merged, _convert(document))
    return merged


def merge(first: Recipe, second: Recipe) -> Recipe:
    """Merge two recipes as LinuxKit does: kernel fields of ``second`` win where set, lists are appended."""
    values = {one.name: getattr(second.kernel, one.name) for one in fields(Kernel)}
    set_fields = {name: value for name, value in values.items() if value}
    if second.kernel.package:  # it says whose kernel is external, so it goes with the name
        set_fields["external"] = second.kernel.external
    mine, theirs = first.packages, second.packages
    return Recipe(
        kernel=replace(first.kernel, **set_fields),
        packages=Packages(
            include=_union(mine.include, theirs.include),
            exclude=_union(mine.exclude, theirs.exclude),
            drop=_union(mine.drop, theirs.drop),
            applets=mine.applets or theirs.applets,
        ),
        files=first.files + second.files,
    )


def clean_path(path: str) -> str:
    """A path in the image as a relative one without "." parts.

    Raises:
        UsageError: it leads out of the image, or nowhere.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path or not parts:
        raise UsageError(f"{path!r} is not a path inside the image")
    return "/".join(parts)


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(first + second))


def _check_files(document: Marked) -> Iterator[Problem]:
    """What the schema cannot say: LinuxKit's rules of what excludes what."""
    for key in ("init", "binary"):
        value = document.value.get("kernel", {}).get(key, "")
        if _leaves(value):
            yield document.problem(("kernel", key), f"{value!r} leads out of its folder")
    for index, entry in enumerate(document.value.get("files", [])):
        for text in _file_problems(entry):
            yield document.problem(("files", index), text)


def _file_problems(entry: dict[str, Any]) -> Iterator[str]:
    kinds = [kind.value for kind in Kind if _has(entry, kind)]
    if not kinds:
        yield f"contents of file {entry['path']} not specified: one of directory, symlink, contents, source"
    elif len(kinds) > 1:
        yield f"specified {' and '.join(kinds)} for {entry['path']}: only one of them can be"
    if entry.get("optional") and "source" not in kinds:
        yield "optional goes with source only"
    if _leaves(entry.get("source", "")):
        yield f"source {entry['source']!r} leads out of the sources"
    try:
        clean_path(entry["path"])
    except UsageError as error:
        yield error.message


def _leaves(path: str) -> bool:
    return path.startswith("/") or ".." in PurePosixPath(path).parts


def _has(entry: dict[str, Any], kind: Kind) -> bool:
    return bool(entry.get("directory")) if kind is Kind.DIRECTORY else kind.value in entry


def _convert(document: Marked) -> Recipe:
    value = document.value
    packages = {key: _plain(item) for key, item in value.get("packages", {}).items()}
    kernel = {key: _plain(item) for key, item in value.get("kernel", {}).items()}
    return Recipe(
        kernel=Kernel(**kernel),
        packages=Packages(**packages),
        files=tuple(
            _entry(item, f"{document.file}:{document.line(('files', index))}")
            for index, item in enumerate(value.get("files", []))
        ),
    )


def _plain(item: Any) -> Any:
    return tuple(item) if isinstance(item, list) else item


def _entry(item: dict[str, Any], where: str) -> FileEntry:
    kind = next(kind for kind in Kind if _has(item, kind))
    return FileEntry(
        path=clean_path(item["path"]),
        kind=kind,
        value="" if kind is Kind.DIRECTORY else item[kind.value],
        mode=int(item["mode"], 8) if "mode" in item else None,
        uid=_owner(item.get("uid", 0)),
        gid=_owner(item.get("gid", 0)),
        optional=item.get("optional", False),
        where=where,
    )


def _owner(value: int | str) -> int:
    return 0 if value == "root" else int(value)
