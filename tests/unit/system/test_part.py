# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove.errors import IntegrityError
from cove.system.part import Part

BODY = b"contents of a file" * 100
DIGEST = hashlib.sha256(BODY).hexdigest()


def _part(folder: Path, told: list[int] | None = None) -> Part:
    progress = (told if told is not None else []).append
    return Part(name="x", target=folder / "in" / "x", digest=DIGEST, expected=len(BODY), progress=progress)


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


def test_other_digests_and_words(tmp_path: Path) -> None:
    digest = f"sha512:{hashlib.sha512(BODY).hexdigest()}"
    with Part(
        name="x",
        target=tmp_path / "x",
        digest=digest,
        expected=len(BODY),
        progress=lambda _: None,
        altered="no",
    ) as part:
        part.write(b"y" * len(BODY))
        with pytest.raises(IntegrityError, match=r"^no$"):
            part.finish()
        part.write(BODY)
        part.finish()
    assert (tmp_path / "x").read_bytes() == BODY
