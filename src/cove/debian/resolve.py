# SPDX-License-Identifier: Apache-2.0
"""From wanted packages to all that they need. Pure, and the same answer for the same input.

The highest version over all suites is the only one that counts. What is wanted by name is taken first, then
dependencies that leave no choice, and only then alternatives, so that ``a | b`` is met by a ``b`` that is
there anyway. Conflicts and Breaks are not looked at: within one Debian release the closure of what Cove asks
for has none, and dpkg refuses where it matters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from cove.debian.index import Index, Record, lock_package
from cove.debian.lock import Lock
from cove.debian.relation import Alternatives, Relation, parse_relations
from cove.debian.version import version_key
from cove.errors import NotFoundError, ResolveError

_PRIORITIES = ("required", "important", "standard", "optional", "extra")


class Choice(NamedTuple):
    """A package and the suite it was found in."""

    record: Record
    suite: str


class Universe:
    """Several suites as one: each package at its highest version; the earlier suite wins a tie."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self._indexes = indexes
        self._best: dict[str, Choice | None] = {}

    def best(self, name: str) -> Choice | None:
        """The highest version of a package, or None if no suite has it."""
        if name not in self._best:
            found = [Choice(record, index.suite) for index in self._indexes for record in index.get(name)]
            self._best[name] = max(found, key=lambda choice: version_key(choice.record.version), default=None)
        return self._best[name]

    def providers(self, relation: Relation) -> list[Choice]:
        """Packages that provide what is asked for, the most important first, then by name."""
        found: dict[str, Choice] = {}
        for index in self._indexes:
            for record, version in index.providers(relation.name):
                best = self.best(record.name)
                if best and best.record == record and relation.accepts_provided(version):
                    found[record.name] = best
        return sorted(found.values(), key=lambda choice: (_rank(choice.record), choice.record.name))

    def flagged(self, *, essential: bool, priorities: Collection[str]) -> list[Choice]:
        """Packages that are Essential (if asked for) or of one of the priorities, by name."""
        names = {
            record.name
            for index in self._indexes
            for record in index.records()
            if (essential and record.essential == "yes") or record.priority in priorities
        }
        chosen = (self.best(name) for name in sorted(names))
        return [
            one
            for one in chosen
            if one and ((essential and one.record.essential == "yes") or one.record.priority in priorities)
        ]


def _rank(record: Record) -> int:
    return _PRIORITIES.index(record.priority) if record.priority in _PRIORITIES else len(_PRIORITIES)


def resolve(
    universe: Universe,
    wanted: Iterable[str],
    *,
    exclude: Collection[str] = (),
    essential: bool = False,
    priorities: Collection[str] = (),
) -> Lock:
    """Find everything that ``wanted`` needs through Depends and Pre-Depends.

    Args:
        universe: the packages there are.
        wanted: package names; a name that is only provided stands for its most important provider.
        exclude: names that are never taken, and count as satisfied wherever they are needed.
        essential: take all Essential packages too.
        priorities: take all packages of these priorities too.

    Raises:
        NotFoundError: a wanted package does not exist.
        ResolveError: something needed cannot be had; the details name every such need.
    """
    closure = _Closure(universe, frozenset(exclude))
    if essential or priorities:
        for choice in universe.flagged(essential=essential, priorities=priorities):
            closure.take(choice)
    for name in wanted:
        closure.take(_named(universe, name))
    closure.run()
    return Lock.of(lock_package(choice.record, choice.suite) for choice in closure.chosen.values())


def _named(universe: Universe, name: str) -> Choice:
    choice = universe.best(name) or next(iter(universe.providers(Relation(name))), None)
    if choice is None:
        raise NotFoundError(f"Debian's archive has no package {name!r}")
    return choice


class _Closure:
    """The set that grows until nothing is missing."""

    def __init__(self, universe: Universe, exclude: frozenset[str]) -> None:
        self._universe = universe
        self._exclude = exclude
        self._simple: deque[tuple[Record, Alternatives]] = deque()
        self._open: deque[tuple[Record, Alternatives]] = deque()
        self._provided: dict[str, list[str]] = {}
        self.chosen: dict[str, Choice] = {}

    def take(self, choice: Choice) -> None:
        record = choice.record
        if record.name in self.chosen or record.name in self._exclude:
            return
        self.chosen[record.name] = choice
        for group in parse_relations(record.provides):
            self._provided.setdefault(group[0].name, []).append(group[0].version)
        for group in (*parse_relations(record.pre_depends), *parse_relations(record.depends)):
            (self._simple if len(group) == 1 else self._open).append((record, group))

    def run(self) -> None:
        missing: list[str] = []
        while self._simple or self._open:
            record, group = (self._simple or self._open).popleft()
            if any(self._met(relation) for relation in group):
                continue
            choice = next((found for found in map(self._find, group) if found), None)
            if choice is None:
                missing.append(self._explain(record, group))
            else:
                self.take(choice)
        if missing:
            raise ResolveError("package dependencies cannot be satisfied", details="\n".join(missing))

    def _met(self, relation: Relation) -> bool:
        if relation.name in self._exclude:
            return True
        choice = self.chosen.get(relation.name)
        if choice and relation.accepts(choice.record.version):
            return True
        return any(map(relation.accepts_provided, self._provided.get(relation.name, ())))

    def _find(self, relation: Relation) -> Choice | None:
        choice = self._universe.best(relation.name)
        if choice and relation.accepts(choice.record.version):
            return choice
        providers = self._universe.providers(relation)
        return next((found for found in providers if found.record.name not in self._exclude), None)

    def _explain(self, record: Record, group: Alternatives) -> str:
        needs = " | ".join(map(str, group))
        found = [self._universe.best(relation.name) for relation in group]
        there = ", ".join(f"{one.record.name} {one.record.version} in {one.suite}" for one in found if one)
        return f"{record.name} {record.version} needs {needs}; the archive has {there or 'no such package'}"
