# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.debian.index import Index, build_table
from cove.debian.lock import Lock
from cove.debian.relation import parse_relations
from cove.debian.resolve import Universe, resolve
from cove.errors import NotFoundError, ResolveError


def index(*entries: str, suite: str = "trixie") -> Index:
    """Entries as "name version; Field: value; ..."."""
    text = ""
    for entry in entries:
        head, *fields = entry.split("; ")
        name, version = head.split()
        text += (
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 1\n"
        )
        text += f"SHA256: {'0' * 64}\n" + "".join(f"{field}\n" for field in fields) + "\n"
    return Index(suite, "\n".join(build_table([text.encode()])))


def names(lock: Lock) -> list[str]:
    return [package.name for package in lock.packages]


def test_closure_over_both_kinds() -> None:
    universe = Universe([index("a 1; Depends: b", "b 1; Pre-Depends: c", "c 1; Depends: a", "d 1")])
    assert names(resolve(universe, ["a"])) == ["a", "b", "c"]


def test_the_highest_version_of_all_suites_counts() -> None:
    suites = [index("a 1.0-1", "b 2"), index("a 1.0-1+deb13u1; Depends: b", suite="trixie-security")]
    lock = resolve(Universe(suites), ["a"])
    assert [(p.name, p.version, p.suite) for p in lock.packages] == [
        ("a", "1.0-1+deb13u1", "trixie-security"),
        ("b", "2", "trixie"),
    ]


def test_the_earlier_suite_wins_a_tie() -> None:
    lock = resolve(Universe([index("a 1"), index("a 1", suite="trixie-updates")]), ["a"])
    assert lock.packages[0].suite == "trixie"


def test_first_alternative_unless_another_is_there_anyway() -> None:
    universe = Universe([index("a 1; Depends: x | y", "x 1", "y 1", "b 1; Depends: y")])
    assert names(resolve(universe, ["a"])) == ["a", "x"]
    assert names(resolve(universe, ["a", "y"])) == ["a", "y"]
    assert names(resolve(universe, ["a", "b"])) == ["a", "b", "y"]


def test_an_alternative_that_does_not_exist_or_is_too_old_is_passed_over() -> None:
    universe = Universe([index("a 1; Depends: gone | old (>= 2) | y", "old 1", "y 1")])
    assert names(resolve(universe, ["a"])) == ["a", "y"]


def test_provides() -> None:
    universe = Universe(
        [
            index(
                "a 1; Depends: awk", "b 1; Depends: api (= 3)", "mawk 1; Provides: awk; Priority: required",
                "gawk 1; Provides: awk; Priority: optional",
                "imp 1; Provides: api (= 3)", "no 1; Provides: api",
            )
        ]
    )  # fmt: skip
    assert names(resolve(universe, ["a"])) == ["a", "mawk"]
    assert names(resolve(universe, ["a", "gawk"])) == ["a", "gawk"]
    assert names(resolve(universe, ["b"])) == ["b", "imp"]
    assert names(resolve(universe, ["awk"])) == ["mawk"]


def test_an_outdated_provider_does_not_count() -> None:
    suites = [index("a 1; Depends: v", "p 1; Provides: v"), index("p 2", suite="trixie-security")]
    with pytest.raises(ResolveError):
        resolve(Universe(suites), ["a"])


def test_excluded_counts_as_satisfied() -> None:
    universe = Universe([index("a 1; Depends: b, c", "b 1; Depends: d", "c 1", "d 1")])
    assert names(resolve(universe, ["a"], exclude={"b"})) == ["a", "c"]


def test_essential_and_priorities() -> None:
    universe = Universe(
        [index("a 1", "e 1; Essential: yes; Depends: l", "l 1", "r 1; Priority: required", "o 1")]
    )
    assert names(resolve(universe, ["a"], essential=True)) == ["a", "e", "l"]
    assert names(resolve(universe, [], priorities={"required"})) == ["r"]
    assert names(resolve(universe, [], essential=True, exclude={"e"})) == []


def test_all_that_is_missing_is_named() -> None:
    universe = Universe([index("a 1; Depends: b (>= 2), gone | away", "b 1.5")])
    with pytest.raises(ResolveError) as caught:
        resolve(universe, ["a"])
    assert caught.value.details == (
        "a 1 needs b (>= 2); the archive has b 1.5 in trixie\n"
        "a 1 needs gone | away; the archive has no such package"
    )


def test_unknown_name() -> None:
    with pytest.raises(NotFoundError, match="'nope'"):
        resolve(Universe([index("a 1")]), ["nope"])


@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=3), min_size=8
    )
)
def test_every_need_is_met(needs: dict[str, list[str]]) -> None:
    entries = [
        f"p{name} 1; Depends: {', '.join('p' + one for one in needed)}" for name, needed in needs.items()
    ]
    universe = Universe([index(*entries)])
    chosen = names(resolve(universe, ["pa"]))
    assert chosen == names(resolve(universe, ["pa"]))
    for name in chosen:
        best = universe.best(name)
        assert best
        for group in parse_relations(best.record.depends):
            assert group[0].name in chosen
