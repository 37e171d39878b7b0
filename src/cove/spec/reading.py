# SPDX-License-Identifier: Apache-2.0
"""Strict reading of recorded data: unknown keys are refused, and every problem is told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from cove.errors import UsageError

T = TypeVar("T")


class Fields:
    """The fields of one recorded object, taken one by one; the problems are collected.

    Args:
        data: what was read, of any shape.
        what: what it is meant to be, for the error: "a machine's spec".
        version: the version of the form that can be read.
    """

    def __init__(self, data: object, *, what: str, version: int) -> None:
        self._what = what
        self._left: dict[object, object] = dict(data) if isinstance(data, Mapping) else {}
        self._problems: list[str] = []
        if not isinstance(data, Mapping):
            self._problems.append(f"it is {type(data).__name__}, not an object")
        elif self._left.get("version") != version:
            # another version may mean anything by its keys: more complaints would only mislead
            found = self._left.get("version", "missing")
            self._fail([f"version: it is {found!r}, and this Cove reads version {version}"])
        self._left.pop("version", None)

    def take(self, key: str, kind: type[T], *, default: T | None = None) -> T:
        """The value of ``key``, which has to be a ``kind``.

        When it is missing or wrong a problem is noted and a stand-in is returned: :meth:`done` raises.
        """
        value = self._left.pop(key, default)
        # bool is an int in Python, and never what a count means
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            found = "missing" if value is None else repr(value)
            self._problems.append(f"{key}: it is {found}, not {_PLAIN.get(kind, kind.__name__)}")
            return kind()
        return value

    def number(self, key: str, *, least: int) -> int:
        """The value of ``key``, which has to be a whole number of at least ``least``."""
        value = self.take(key, int)
        if value < least and not any(problem.startswith(f"{key}:") for problem in self._problems):
            self._problems.append(f"{key}: it is {value}, and must be at least {least}")
        return value

    def choice(self, key: str, allowed: tuple[T, ...], *, default: T | None = None) -> T:
        """The value of ``key``, which has to be one of ``allowed`` (the first is the stand-in)."""
        value = self._left.pop(key, default)
        for option in allowed:
            if option == value and type(option) is type(value):
                return option
        found = "missing" if value is None and None not in allowed else repr(value)
        self._problems.append(f"{key}: it is {found}, not one of {', '.join(str(item) for item in allowed)}")
        return allowed[0]

    def read(self, key: str, reader: Callable[[object], T], *, default: object) -> T:
        """The value of ``key`` as ``reader`` makes it; its :class:`UsageError` is noted, and the default read."""
        try:
            return reader(self._left.pop(key, default))
        except UsageError as error:
            self._problems.append(error.message)
            return reader(default)

    def done(self) -> None:
        """End the reading.

        Raises:
            UsageError: some keys were unknown, missing or wrong; the details name every one of them.
        """
        unknown = [f"{key}: unknown key" for key in sorted(map(str, self._left))]
        if self._problems or unknown:
            self._fail(self._problems + unknown)

    def _fail(self, problems: list[str]) -> None:
        raise UsageError(f"this is not {self._what}", details="\n".join(problems))


_PLAIN: Mapping[type, str] = {str: "a text", int: "a whole number", bool: "true or false", list: "a list"}
