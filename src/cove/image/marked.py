# SPDX-License-Identifier: Apache-2.0
"""YAML that remembers on which line each key stands, so that problems can be named by line. Pure.

Scalars mean what they mean to LinuxKit (gopkg.in/yaml.v3, resolve.go), not to PyYAML, which follows YAML 1.1 to the
letter: ``yes`` and ``on`` are strings, so are dates and ``1:30``; ``0644`` is a number in octal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import yaml

from cove.errors import UsageError

Place = tuple[str | int, ...]
"""The way to a value: keys and list indexes, from the top."""

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_NODES = 200_000  # aliases of aliases can make more of a few lines than any memory holds
_MERGE = "<<"
_NULL = ("", "~", "null", "Null", "NULL")
_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class Written(int):
    """A number, and how it was written: ``mode: 0644`` and ``mode: 644`` mean the same to people.

    Args:
        text: the scalar in the file.
    """

    text: str

    def __new__(cls, value: int, text: str) -> Self:
        """The number with its text."""
        number = super().__new__(cls, value)
        number.text = text
        return number


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
    order = list(dict.fromkeys(one.file for one in problems))
    ordered = sorted(set(problems), key=lambda one: (order.index(one.file), one.line, one.place, one.text))
    files = ", ".join(order)
    count = "one problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    raise UsageError(f"{files} has {count}", details="\n".join(map(str, ordered)), hint=hint)


def read_yaml(text: str, file: str) -> Marked:
    """Read one YAML document: mappings, lists, strings, numbers, true, false and null, nothing else.

    Args:
        text: the document; an empty one is an empty mapping.
        file: its name, for messages.

    Returns:
        the document; a key that stands twice is among its problems (YAML would keep the last). Whole numbers
        are :class:`Written`.

    Raises:
        UsageError: it is not YAML; names the line.
    """
    reading = _Reading(file)
    try:
        loader = _LOADER(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        value = {} if node is None else reading.value(node, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{file}:{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not YAML: {error}") from error
    return Marked(file, {} if value is None else value, reading.lines, reading.problems)


class _Reading:
    """Makes plain values of nodes and notes where they stood."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        self._count += 1
        if self._count > _MOST_NODES:
            raise ValueError("it has too many values, or aliases that repeat each other")
        if id(node) in self._open:
            raise ValueError("an alias leads to what it stands in")
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, place)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            below = (*place, name)
            line = key.start_mark.line + 1
            if name == _MERGE and not key.style:
                merged = self._merge(item, place, line)
                continue
            if name in own:
                self.problems.append(Problem(self.file, line, spell(below), "stands twice"))
            # the key's line, not the value's: a block scalar begins on the line after
            self.lines[below] = line
            own[name] = self.value(item, below)
        return {**merged, **own}

    def _merge(self, node: yaml.Node, place: Place, line: int) -> dict[str, Any]:
        """What ``<<`` brings: a mapping, or a list of some, the first of which wins."""
        merged: dict[str, Any] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            found = self.value(source, place)
            if isinstance(found, dict):
                merged = {**found, **merged}
            else:
                self.problems.append(Problem(self.file, line, spell((*place, _MERGE)), "needs a mapping"))
        return merged


def _scalar(node: yaml.ScalarNode) -> Any:
    text = str(node.value)
    if node.style:
        return text
    if not node.tag.startswith("tag:yaml.org,2002:"):
        raise yaml.MarkedYAMLError(
            problem=f"the tag {node.tag} means nothing here", problem_mark=node.start_mark
        )
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return _number(text)
    if _FLOAT.fullmatch(text) or _SPECIAL_FLOAT.fullmatch(text):
        return float(re.sub(r"\.(?=[in])", "", text.lower()))
    return text


def _number(text: str) -> Written:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2], 8 if len(digits) > 1 and digits[0] == "0" else 10)
    try:
        return Written(sign * int(digits, base), text)
    except ValueError:  # 089: a leading zero, but no octal number
        return Written(sign * int(digits), text)
