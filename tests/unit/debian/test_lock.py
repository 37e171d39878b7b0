# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.debian.lock import Lock, LockedPackage
from cove.errors import UsageError

ONE = LockedPackage(
    name="a", version="1", architecture="amd64", sha256="0" * 64, size=5, filename="pool/a.deb",
    suite="trixie", source="a 1",
)  # fmt: skip
packages = st.builds(
    LockedPackage, name=st.text(), version=st.text(), architecture=st.text(), sha256=st.text(),
    size=st.integers(), filename=st.text(), suite=st.text(), source=st.text(),
)  # fmt: skip


@given(st.lists(packages, unique_by=lambda one: one.name))
def test_json_round_trip(some: list[LockedPackage]) -> None:
    lock = Lock.of(some)
    again = Lock.from_json(lock.to_json())
    assert again == lock
    assert again.digest == lock.digest
    assert again.to_json() == lock.to_json()


def test_get_and_size() -> None:
    lock = Lock.of([replace(ONE, name="b"), ONE])
    assert [package.name for package in lock.packages] == ["a", "b"]
    assert lock.get("b") == replace(ONE, name="b")
    assert lock.get("c") is None
    assert lock.size == 10


def test_digest_follows_contents_not_the_suite() -> None:
    assert Lock((ONE,)).digest == Lock((replace(ONE, suite="trixie-security", filename="x"),)).digest
    for change in ({"version": "2"}, {"sha256": "1" * 64}, {"name": "b"}):
        assert Lock((replace(ONE, **change),)).digest != Lock((ONE,)).digest


def test_order_is_kept() -> None:
    with pytest.raises(ValueError, match="sorted"):
        Lock((replace(ONE, name="b"), ONE))
    with pytest.raises(ValueError, match="once"):
        Lock((ONE, ONE))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"format": 1}', '{"format": 1, "packages": [{"name": "a"}]}', '{"format": 2}',
     json.dumps({"format": 1, "packages": [{**ONE.__dict__, "size": "5"}]})],
)  # fmt: skip
def test_not_a_lock(text: str) -> None:
    with pytest.raises(UsageError, match="lock"):
        Lock.from_json(text)
