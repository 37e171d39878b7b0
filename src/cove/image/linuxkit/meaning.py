# SPDX-License-Identifier: Apache-2.0
"""What is wrong with LinuxKit YAML, all of it at once: shapes first, then what shapes cannot say. Pure.

What does not have its shape is told and not looked at any further; all else is, also in the same entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cove.errors import UsageError
from cove.image.linuxkit import schema
from cove.image.linuxkit.settings import settings_problems
from cove.image.linuxkit.shapes import shape_faults
from cove.image.linuxkit.volumes import volume_problems
from cove.image.marked import Marked, Place, Problem, read_yaml
from cove.image.oci.model import parse_platform
from cove.image.oci.reference import parse_reference

SECTIONS = ("onboot", "onshutdown", "services")
"""The lists of containers, in the order in which ids are given out."""

_FIRST_ID = 100
_KINDS = ("directory", "symlink", "contents", "source", "metadata")


@dataclass(frozen=True)
class Document:
    """A file that was read.

    Args:
        marked: its values, with lines.
        problems: what does not have its shape.
        bad: the places of entries, and of keys in them, with such problems.
    """

    marked: Marked
    problems: tuple[Problem, ...]
    bad: frozenset[Place]

    @classmethod
    def read(cls, text: str, file: str) -> Document:
        """Read a file.

        Raises:
            UsageError: it is not YAML.
        """
        marked = read_yaml(text, file)
        faults = list(shape_faults(marked.value, schema.CONFIG))
        problems = (*marked.problems, *(marked.problem(place, what) for place, what in faults))
        return cls(marked, problems, frozenset(place[:3] for place, _ in faults))

    def items(self, section: str, *, sound: bool = True) -> Iterator[tuple[Place, Any]]:
        """The entries of a list; only what is sound in them unless it is told otherwise, so any key may be missing."""
        value = self.marked.value.get(section) if isinstance(self.marked.value, dict) else None
        for index, item in enumerate(value if isinstance(value, list) else []):
            place = (section, index)
            if sound and isinstance(item, dict):
                yield place, {key: one for key, one in item.items() if (*place, key) not in self.bad}
            elif not sound or place not in self.bad:
                yield place, item

    def problem(self, place: Place, text: str) -> Problem:
        """A problem at ``place``."""
        return self.marked.problem(place, text)


def give_ids(names: Iterator[str]) -> dict[str, int]:
    """Numbers from 100 on; of equal names the last one's counts."""
    return {name: number for number, name in enumerate(names, _FIRST_ID)}


def all_problems(documents: Sequence[Document]) -> list[Problem]:
    """Everything that is wrong with files that are merged in this order."""
    found = [problem for one in documents for problem in one.problems]
    ids = give_ids(
        item["name"]
        for section in SECTIONS
        for one in documents
        for _, item in one.items(section, sound=False)
        if isinstance(item, dict) and isinstance(item.get("name"), str)
    )
    for section, called in (("services", "service"), ("volumes", "volume")):
        found += _twice(documents, section, called)
    for one in documents:
        found += _reference_problems(one)
        found += _kernel_problems(one)
        for place, item in one.items("files"):
            if not any((*place, key) in one.bad for key in ("path", *_KINDS)):
                found += (one.problem(place, text) for text in _file_problems(item, ids))
        for place, item in one.items("volumes"):
            found += (one.problem(place, text) for text in _volume_problems(item))
        for section in SECTIONS:
            for place, item in one.items(section):
                faults = settings_problems(item, ids)
                found += (one.problem((*place, *key), text) for key, text in faults)
    return found


def volume_complaints(documents: Sequence[Document]) -> Iterator[Problem]:
    """Volumes that containers use wrongly: what LinuxKit's dry run lets pass."""
    volumes = {
        str(item.get("name")): bool(item.get("readonly"))
        for one in documents
        for _, item in one.items("volumes")
    }
    for one in documents:
        for section in SECTIONS:
            for place, item in one.items(section):
                for key, text in volume_problems(item, volumes):
                    yield one.problem((*place, *key), text)


def _twice(documents: Sequence[Document], section: str, called: str) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for one in documents:
        for place, item in one.items(section):
            name = item.get("name")
            if name is None:
                continue
            if name in seen:
                text = f"duplicate {called} name: {name} is already at {seen[name]}"
                yield one.problem((*place, "name"), text)
            seen.setdefault(name, f"{one.marked.file}:{one.marked.line((*place, 'name'))}")


def _reference_problems(one: Document) -> Iterator[Problem]:
    for place, name in _references(one):
        try:
            parse_reference(name)
        except UsageError as error:
            template = " (templates such as @pkg:./dir are not supported)" if name.startswith("@") else ""
            yield one.problem(place, error.message + template)


def _references(one: Document) -> Iterator[tuple[Place, str]]:
    kernel = one.marked.value.get("kernel") if isinstance(one.marked.value, dict) else None
    if isinstance(kernel, dict) and isinstance(kernel.get("image"), str) and kernel["image"]:
        yield ("kernel", "image"), kernel["image"]
    yield from one.items("init")
    for section in (*SECTIONS, "volumes"):
        for place, item in one.items(section):
            if item.get("image") or (section != "volumes" and "image" in item):
                yield (*place, "image"), item["image"]


def _kernel_problems(one: Document) -> Iterator[Problem]:
    kernel = one.marked.value.get("kernel") if isinstance(one.marked.value, dict) else None
    if isinstance(kernel, dict) and kernel.get("image") and kernel.get("package"):
        yield one.problem(("kernel", "package"), "the kernel comes from an image or from a package, not both")


def _file_problems(item: Mapping[str, Any], ids: Mapping[str, int]) -> Iterator[str]:
    path = item.get("path")
    if path is None:
        return  # which was told
    kinds = file_kinds(item)
    if not kinds:
        yield f"contents of file ({path}) not specified: one of {', '.join(_KINDS)} has to be"
    elif len(kinds) > 1:
        yield f"specified {' and '.join(kinds)} for file {path}: only one of them can be"
    parts = path.removeprefix("/").split("/")
    if not path.strip("/") or "\0" in path:
        yield f"{path!r} is not a path inside the image"
    elif ".." in parts:
        yield f"{path!r} leads out of the image"
    elif path.endswith("/") and kinds != ["directory"]:
        yield f"{path!r} ends in a slash, but is no directory"
    for key in ("uid", "gid"):
        name = item.get(key, 0)
        if isinstance(name, str) and name not in ("", "root") and name not in ids:
            yield f"{key}: there is no container {name!r} whose id could be meant"


def file_kinds(item: Mapping[str, Any]) -> list[str]:
    """Which kinds of file an entry says it is; an empty string says nothing, but for ``contents``."""
    return [kind for kind in _KINDS if item.get(kind) or (kind == "contents" and kind in item)]


def _volume_problems(item: Mapping[str, Any]) -> Iterator[str]:
    if item.get("format") == "oci" and not item.get("image"):
        yield "a volume of format oci needs an image"
    for text in item.get("platforms", []):
        try:
            parse_platform(text)
        except UsageError as error:
            yield error.message
