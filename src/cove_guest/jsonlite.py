# SPDX-License-Identifier: Apache-2.0
"""JSON (RFC 8259) without the ``json`` package.

Importing ``json`` compiles ``re`` and ``enum`` from source on a root without ``.pyc`` files: about 65 ms of
the guest's start on a fast machine, more on an emulated one. Its C half, ``_json``, costs nothing.
"""

from __future__ import annotations

import _json


class _Rules:
    """What the C scanner asks of its context (json/scanner.py in CPython)."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> float:
        """NaN and the infinities are not JSON."""
        raise ValueError(f"{name} is not JSON")


_scan = _json.make_scanner(_Rules)  # type: ignore[arg-type]


def loads(text: str) -> object:
    """Read one JSON value.

    Raises:
        ValueError: it is not JSON, or nested deeper than the interpreter's stack.
    """
    text = text.strip(" \t\r\n")
    try:
        value, end = _scan(text, 0)
    except (StopIteration, SystemError, RecursionError) as error:  # the scanner's ways to say "malformed"
        raise ValueError("not JSON") from error
    if end != len(text):
        raise ValueError("something follows the JSON value")
    return value


def dumps(value: object) -> str:
    """Write a value as compact ASCII JSON, key order kept.

    Raises:
        TypeError: it holds something that JSON has no form for.
    """
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return _json.encode_basestring_ascii(value)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{dumps(str(key))}:{dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(dumps(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _number(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - only NaN differs from itself
        raise TypeError("NaN and the infinities have no form in JSON")
    return repr(value)
