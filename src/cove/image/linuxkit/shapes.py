# SPDX-License-Identifier: Apache-2.0
"""Shapes of values: what may stand where in a YAML file, and how Go programs write it again. Pure.

One table of shapes (``schema.py``) serves for checking input, and for writing values as LinuxKit does: in the
YAML that ``files: metadata`` puts into an image, and in the JSON of ``config.json``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cove.image.marked import Place, Written

Check = Callable[[Any], str | None]
"""Says what is wrong with a value of the right type; None when nothing is."""


@dataclass(frozen=True)
class Text:
    """A string.

    Args:
        check: what else is to be true of it.
    """

    check: Check | None = None
    called: str = "a string"


@dataclass(frozen=True)
class Integer:
    """A whole number between two bounds, both included."""

    least: int = -(1 << 63)
    most: int = (1 << 63) - 1
    called: str = "a whole number"


@dataclass(frozen=True)
class Boolean:
    """True or false."""

    called: str = "true or false"


@dataclass(frozen=True)
class Octal:
    """A file mode: a string of octal digits, or a number that is written as such.

    LinuxKit takes strings only, although its documentation shows numbers.
    """

    called: str = 'an octal mode such as "0644"'


@dataclass(frozen=True)
class Identity:
    """A user or group: a number, or the name of a container."""

    called: str = "a number from 0, or the name of a container"


@dataclass(frozen=True)
class ListOf:
    """A list."""

    item: Shape
    called: str = "a list"


@dataclass(frozen=True)
class MapOf:
    """A mapping whose keys are free."""

    item: Shape
    called: str = "a mapping"


@dataclass(frozen=True)
class Field:
    """A key of a mapping.

    Args:
        name: the key.
        shape: of its value.
        pointer: in Go it is a pointer, which is left out only if the key is absent; else an empty value is left
            out too.
        keep: it is never left out.
        plain: Go's YAML writer knows it by another name (the field's, in lower case).
        json: its name in JSON, where that differs.
        json_keep: it is never left out of JSON.
        nullable: null means that it is absent.
        hidden: it is read, but never written.
    """

    name: str
    shape: Shape
    pointer: bool = False
    keep: bool = False
    plain: str = ""
    json: str = ""
    json_keep: bool = False
    nullable: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Struct:
    """A mapping with known keys.

    Args:
        fields: in the order in which they are written.
        required: those that must be there.
    """

    fields: tuple[Field, ...]
    required: tuple[str, ...] = ()
    called: str = "a mapping"
    by_name: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {one.name: one for one in self.fields})


Shape = Text | Integer | Boolean | Octal | Identity | ListOf | MapOf | Struct

_MODE = re.compile(r"[0-7]{0,7}")
_MOST_ID = (1 << 32) - 1


Fault = tuple[Place, str]
"""A place in a value, and what is wrong there."""


def shape_faults(value: Any, shape: Shape, place: Place = ()) -> Iterator[Fault]:
    """Everything in ``value`` that does not have the shape.

    Args:
        value: mappings, lists and scalars.
        shape: what it is to have.
        place: where it stands.
    """
    if not _fits(value, shape):
        yield place, f"must be {shape.called}, not {_name(value)}{_advice(value, shape)}"
        return
    match shape:
        case Struct():
            yield from _struct_faults(value, shape, place)
        case ListOf():
            for index, item in enumerate(value):
                yield from shape_faults(item, shape.item, (*place, index))
        case MapOf():
            for key, item in value.items():
                yield from shape_faults(item, shape.item, (*place, key))
        case Integer() if not shape.least <= value <= shape.most:
            yield place, f"{value} is out of range: {shape.least} to {shape.most}"
        case Text(check=check) if check is not None and (text := check(value)):
            yield place, text
        case _:
            pass


def _struct_faults(value: Any, shape: Struct, place: Place) -> Iterator[Fault]:
    for key, item in value.items():
        known = shape.by_name.get(key)
        if known is None:
            names = ", ".join(sorted(shape.by_name))
            yield (*place, key), f"is not known here (known: {names})"
        elif item is not None or not known.nullable:
            yield from shape_faults(item, known.shape, (*place, key))
    for key in shape.required:
        if key not in value:
            yield place, f"{key} is missing"


def _fits(value: Any, shape: Shape) -> bool:
    number = isinstance(value, int) and not isinstance(value, bool)
    match shape:
        case Text():
            return isinstance(value, str)
        case Integer():
            return number
        case Boolean():
            return isinstance(value, bool)
        case Octal():
            return octal(value) is not None
        case Identity():
            return isinstance(value, str) or (number and 0 <= value <= _MOST_ID)
        case ListOf():
            return isinstance(value, list)
        case MapOf() | Struct():
            return isinstance(value, dict)


def octal(value: Any) -> str | None:
    """A file mode as octal digits, None if it is no mode; "" means none was given."""
    text = value.text.removeprefix("0o") if isinstance(value, Written) else value
    return text if isinstance(text, str) and _MODE.fullmatch(text) else None


def _name(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(value) if len(value) < 60 else "a string"
        case int() | float():
            return f"the number {getattr(value, 'text', value)}"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _advice(value: Any, shape: Shape) -> str:
    if isinstance(shape, Text) and isinstance(value, bool | int | float):
        return f': write it in quotes, "{getattr(value, "text", str(value).lower())}"'
    if isinstance(shape, ListOf) and isinstance(value, str):
        return f": write [{value!r}]"
    return ""
