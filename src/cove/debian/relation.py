# SPDX-License-Identifier: Apache-2.0
"""Reading Depends, Pre-Depends and Provides (Debian Policy 7.1). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from cove.debian.version import satisfies
from cove.errors import ArchiveError

_RELATION = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9+.\-]*)(?::[a-z0-9\-]+)?"
    r"(?:\s*\(\s*(?P<operator><<|<=|=|>=|>>|<|>)\s*(?P<version>[^\s()<>=]+)\s*\))?"
    r"(?:\s*\[[^\]]*\])?(?:\s*<[^>]*>)*"
)
_OLD_OPERATORS = {"<": "<=", ">": ">="}  # Policy 7.1: the obsolete forms mean or-equal


@dataclass(frozen=True)
class Relation:
    """One package that would do: a name and, if ``operator`` is not empty, a bound on its version."""

    name: str
    operator: str = ""
    version: str = ""

    def accepts(self, version: str) -> bool:
        """Whether that version of the package would do."""
        return not self.operator or satisfies(version, self.operator, self.version)

    def accepts_provided(self, version: str) -> bool:
        """Whether a Provides with that version ("" for none) would do; unversioned ones meet no bound."""
        return not self.operator or (bool(version) and self.accepts(version))

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


Alternatives = tuple[Relation, ...]
"""Packages of which one is needed: ``a | b``."""


@lru_cache(maxsize=32768)
def parse_relations(text: str) -> tuple[Alternatives, ...]:
    """Read a whole field: every group is needed, one of each group's alternatives is enough.

    Architecture qualifiers (``:any``) are dropped, as one architecture is all that is looked at.

    Raises:
        ArchiveError: the field is malformed.
    """
    groups = (group.strip() for group in text.replace("\n", " ").split(","))
    return tuple(tuple(_relation(one) for one in group.split("|")) for group in groups if group)


def _relation(text: str) -> Relation:
    match = _RELATION.fullmatch(text.strip())
    if match is None:
        raise ArchiveError(f"{text.strip()!r} is not a package relation")
    found = match["operator"] or ""
    return Relation(match["name"], _OLD_OPERATORS.get(found, found), match["version"] or "")
