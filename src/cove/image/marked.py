# SPDX-License-Identifier: Apache-2.0
"""YAML that remembers on which line each key stands, so that problems can be named by line. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from cove.errors import UsageError

Place = tuple[str | int, ...]
"""The way to a value: keys and list indexes, from the top."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file.

    Args:
        file: the file's name, as the user gave it.
        line: counted from 1.
        place: the key, written as ``files[2].mode``; "" for the file as a whole.
        text: what is wrong with it.
    """

    file: str
    line: int
    place: str
    text: str

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{self.file}:{self.line}: {where}{self.text}"


@dataclass(frozen=True)
class Marked:
    """A YAML document: its plain value, the line of each place, and what is wrong already at this level."""

    file: str
    value: Any
    lines: Mapping[Place, int]
    problems: Sequence[Problem] = field(default=())

    def line(self, place: Place) -> int:
        """The line of ``place``, or of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def problem(self, place: Place, text: str) -> Problem:
        """A problem at ``place``."""
        return Problem(self.file, self.line(place), spell(place), text)


def spell(place: Place) -> str:
    """A place as people write it: ``files[2].mode``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def raise_problems(problems: Sequence[Problem], hint: str) -> None:
    """Raise one error that lists all ``problems``, in the order of the file; nothing when there are none.

    Raises:
        UsageError: there is at least one.
    """
    if not problems:
        return
    ordered = sorted(set(problems), key=lambda one: (one.file, one.line, one.place, one.text))
    files = ", ".join(dict.fromkeys(one.file for one in ordered))
    count = "one problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    raise UsageError(f"{files} has {count}", details="\n".join(map(str, ordered)), hint=hint)


def read_yaml(text: str, file: str) -> Marked:
    """Read one YAML document, with safe types only.

    Args:
        text: the document; an empty one is an empty mapping.
        file: its name, for messages.

    Returns:
        the document; a key that stands twice is among its problems (YAML would keep the last).

    Raises:
        UsageError: it is not YAML; names the line.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines: dict[Place, int] = {}
        problems: list[Problem] = []
        if node is not None:
            for place, line, twice in _walk(node, ()):
                if twice:
                    problems.append(Problem(file, line, spell(place), "stands twice"))
                lines[place] = line
        value = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{file}:{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not YAML: {error}") from error
    return Marked(file, {} if value is None else value, lines, problems)


def _walk(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int, bool]]:
    """Every place below ``node`` with its line, and whether its key stood there before."""
    yield place, node.start_mark.line + 1, False
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*place, index))
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            below = (*place, name)
            yield from _walk(value, below)
            # the key's line, not the value's: a block scalar begins on the line after
            yield below, key.start_mark.line + 1, name in seen
            seen.add(name)
