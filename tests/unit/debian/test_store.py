# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove.debian.store import Part, Store, file_sha256
from cove.errors import IntegrityError

from .test_lock import ONE

BODY = b"contents of a file" * 100
DIGEST = hashlib.sha256(BODY).hexdigest()


def _part(folder: Path, told: list[int] | None = None) -> Part:
    progress = (told if told is not None else []).append
    return Part(name="x", target=folder / "in" / "x", sha256=DIGEST, expected=len(BODY), progress=progress)


def test_names_carry_the_digest() -> None:
    store = Store(Path("/c"))
    assert store.deb(ONE) == Path(f"/c/debs/a.{'0' * 64}.deb")
    assert store.table("d") == Path("/c/lists/d.table")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(cut=st.integers(0, len(BODY)))
def test_in_two_sittings(tmp_path: Path, cut: int) -> None:
    told: list[int] = []
    with _part(tmp_path, told) as part:
        part.write(BODY[:cut])
    assert sum(told) == 0  # it does not count while nobody works on it
    with _part(tmp_path, told) as part:
        assert part.size == cut
        part.write(BODY[cut:])
        part.finish()
    assert sum(told) == len(BODY)
    assert (tmp_path / "in/x").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["x"]
    assert file_sha256(tmp_path / "in/x") == DIGEST


def test_wrong_contents_are_thrown_away(tmp_path: Path) -> None:
    with _part(tmp_path) as part:
        part.write(b"x" * len(BODY))
        with pytest.raises(IntegrityError) as caught:
            part.finish()
        assert part.size == 0
    assert (caught.value.name, DIGEST in caught.value.expected) == ("x", True)
    assert hashlib.sha256(b"x" * len(BODY)).hexdigest() in caught.value.found
    assert not (tmp_path / "in/x").exists()


def test_too_many_bytes_are_refused_as_they_come(tmp_path: Path) -> None:
    with _part(tmp_path) as part:
        part.write(BODY)
        with pytest.raises(IntegrityError):
            part.write(b"!")
        assert part.size == 0


def test_two_at_once_have_parts_of_their_own(tmp_path: Path) -> None:
    with _part(tmp_path) as one, _part(tmp_path) as two:
        one.write(BODY)
        two.write(BODY)
        one.finish()
        two.finish()
    assert (tmp_path / "in/x").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["x"]
