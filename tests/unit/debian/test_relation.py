# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.debian.relation import Relation, parse_relations
from cove.errors import ArchiveError


def test_groups_alternatives_versions() -> None:
    assert parse_relations("libc6 (>= 2.41), a | b:any (<<2) ,\n c(=1:1-1)") == (
        (Relation("libc6", ">=", "2.41"),),
        (Relation("a"), Relation("b", "<<", "2")),
        (Relation("c", "=", "1:1-1"),),
    )


def test_restrictions_are_dropped_and_old_operators_mean_or_equal() -> None:
    assert parse_relations("x (> 1) [amd64] <!nocheck>, y (< 2)") == (
        (Relation("x", ">=", "1"),),
        (Relation("y", "<=", "2"),),
    )


def test_empty_field() -> None:
    assert parse_relations("") == ()


@pytest.mark.parametrize("text", ["a b", "(>= 1)", "a (>= )", "a || b", "a (~ 1)"])
def test_malformed_is_refused(text: str) -> None:
    with pytest.raises(ArchiveError, match="not a package relation"):
        parse_relations(text)


def test_unversioned_provides_meet_no_bound() -> None:
    assert Relation("x").accepts_provided("")
    assert not Relation("x", ">=", "1").accepts_provided("")
    assert Relation("x", ">=", "1").accepts_provided("2")


names = st.from_regex(r"\A[a-z0-9][a-z0-9+.\-]{1,10}\Z")
relations = st.builds(Relation, names) | st.builds(
    Relation,
    names,
    st.sampled_from(["<<", "<=", "=", ">=", ">>"]),
    st.from_regex(r"\A[0-9][0-9a-z.+~\-]{0,5}\Z"),
)


@given(st.lists(st.lists(relations, min_size=1, max_size=3).map(tuple), max_size=4).map(tuple))
def test_printing_and_reading_is_the_identity(groups: tuple[tuple[Relation, ...], ...]) -> None:
    assert parse_relations(", ".join(" | ".join(map(str, group)) for group in groups)) == groups
