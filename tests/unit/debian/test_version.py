# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.debian.version import satisfies, version_key

ASCENDING = [
    "~~", "~~a", "~", "0", "0a", "0.1", "1~~", "1~~a", "1~", "1~rc1", "1-0~1", "1", "1-1", "1-1+b1", "1-1.1",
    "1-10", "1a", "1+dfsg", "1.2", "1.09.1", "1.10", "2", "10", "a", "1:0.1", "2:0",
]  # fmt: skip
"""Policy 5.6.12's own examples among them: ~~, ~~a, ~, the empty part, a."""

SAMPLE = [
    "26.1.5+dfsg1-9+b10", "26.1.5+dfsg1-9", "2.41-12+deb13u1", "2.41-12", "1:2.41-5", "0.27.0-2+b1", "1.0a",
    "6.12.73-1", "20210101~git", "20210101", "1.0", "1.0-0", "00001", "1", "1.0.0", "1.0a0", "1-1-1", "1.-1",
    "0", "0~x", "0-1", "1+", "1.+", "3.0~beta1~svn1245-1", "3.0~beta1-1", "3.0-1",
]  # fmt: skip

versions = st.from_regex(r"\A(?:[0-9]{1,2}:)?[0-9][0-9a-zA-Z.+~]{0,8}(?:-[0-9a-zA-Z.+~]{1,6})?\Z")


def test_known_order() -> None:
    for lower, higher in pairwise(ASCENDING):
        assert version_key(lower) < version_key(higher), (lower, higher)


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1-0"), ("1", "0:1"), ("1.0", "1.00"), ("1a", "1a0"), ("01", "1"), ("1-00", "1")]
)
def test_equal_in_order(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


@given(versions, versions, versions)
def test_total_and_transitive(a: str, b: str, c: str) -> None:
    ka, kb, kc = version_key(a), version_key(b), version_key(c)
    assert (ka < kb) + (ka == kb) + (ka > kb) == 1
    if ka <= kb <= kc:
        assert ka <= kc


@given(versions)
def test_tilde_is_before_and_suffix_after(version: str) -> None:
    assert version_key(version + "~x") < version_key(version)
    assert version_key(version + "+x") > version_key(version)


@given(st.text())
def test_anything_has_a_place(text: str) -> None:
    assert version_key(text) == version_key(text)


@pytest.mark.parametrize(
    ("relation", "holds"), [("<<", False), ("<=", True), ("=", True), (">=", True), (">>", False)]
)
def test_satisfies(relation: str, holds: bool) -> None:
    assert satisfies("1.0-1", relation, "1.0-1") is holds


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="there is no dpkg here to compare with")
def test_dpkg_agrees() -> None:
    for a, b in [*pairwise(ASCENDING[3:]), *pairwise(SAMPLE), *zip(SAMPLE, SAMPLE[::-1], strict=True)]:
        for relation, ours in (
            ("lt", version_key(a) < version_key(b)),
            ("eq", version_key(a) == version_key(b)),
        ):
            if not (a[0].isdigit() and b[0].isdigit()):
                continue  # dpkg warns: Policy forbids them
            theirs = subprocess.run(["dpkg", "--compare-versions", a, relation, b], check=False)
            assert (theirs.returncode == 0) is ours, (a, relation, b)
