# SPDX-License-Identifier: Apache-2.0
"""The order of Debian versions, ``[epoch:]upstream[-revision]`` (Policy 5.6.12, deb-version(7)). Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_PIECES = re.compile(r"([^0-9]*)([0-9]*)")

Key = tuple[int, tuple[Any, ...], tuple[Any, ...]]
"""What versions are compared by; two versions are equal in order exactly when their keys are equal."""

_END = ((0,), 0)

_OPERATORS: dict[str, Callable[[Key, Key], bool]] = {
    "<<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">>": operator.gt,
}


@lru_cache(maxsize=65536)
def version_key(version: str) -> Key:
    """A key that sorts as Debian does: ``sorted(versions, key=version_key)``.

    Anything is given a place, also what Policy would not allow: an archive is to be read, not judged.
    """
    epoch, colon, rest = version.strip().partition(":")
    if not (colon and epoch.isascii() and epoch.isdigit()):
        epoch, rest = "0", version.strip()
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch), _part_key(upstream), _part_key(revision)


def _part_key(part: str) -> tuple[Any, ...]:
    pieces = [(_ranks(text), int(digits or 0)) for text, digits in _PIECES.findall(part) if text or digits]
    return (*(pieces or [_END]), _END)  # a missing revision equals "0"


def _ranks(text: str) -> tuple[int, ...]:
    """Letters before all other signs, the end of the text before both, "~" before even the end."""
    return (*(-1 if sign == "~" else ord(sign) + (0 if sign.isalpha() else 0x110000) for sign in text), 0)


def satisfies(version: str, relation: str, wanted: str) -> bool:
    """Whether ``version`` stands in ``relation`` ("<<", "<=", "=", ">=", ">>") to ``wanted``.

    Raises:
        KeyError: there is no such relation.
    """
    return _OPERATORS[relation](version_key(version), version_key(wanted))
