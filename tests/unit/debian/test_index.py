# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.debian.index import Index, build_table, lock_package
from cove.errors import ArchiveError

TEXT = f"""Package: a
Source: src (1:2-3)
Version: 1-1
Description: left out
 also left out
Architecture: all
Depends: b,
 c
Filename: pool/a.deb
Size: 12
SHA256: {"a" * 64}

Package: b
Version: 2
Architecture: amd64
Provides: v (= 7), w
Filename: pool/b.deb
Size: 1
SHA256: {"b" * 64}
""".encode()


@given(st.lists(st.integers(0, len(TEXT)), max_size=6))
def test_pieces_of_any_size(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(TEXT)]
    pieces = [TEXT[a:b] for a, b in pairwise(places)]
    assert list(build_table(pieces)) == list(build_table([TEXT]))


def test_reading_back() -> None:
    index = Index("trixie", "\n".join(build_table([TEXT])))
    assert len(index) == 2
    assert [record.name for record in index.records()] == ["a", "b"]
    (record,) = index.get("a")
    assert record.depends == "b, c"
    assert index.get("nope") == []
    assert [(one.name, version) for one, version in index.providers("v")] == [("b", "7")]
    package = lock_package(record, "trixie")
    assert (package.source, package.size, package.architecture) == ("src 1:2-3", 12, "all")
    assert lock_package(index.get("b")[0], "trixie").source == "b 2"


def test_empty_suite() -> None:
    index = Index("trixie-updates", "\n".join(build_table([b""])))
    assert len(index) == 0
    assert index.get("a") == []


@pytest.mark.parametrize("field", ["Package", "Version", "Filename", "Size", "SHA256"])
def test_incomplete_entries_are_refused(field: str) -> None:
    broken = b"\n".join(line for line in TEXT.split(b"\n") if not line.startswith(field.encode()))
    with pytest.raises(ArchiveError, match="incomplete"):
        list(build_table([broken]))


def test_tabs_cannot_shift_fields() -> None:
    with pytest.raises(ArchiveError, match="tab"):
        list(build_table([TEXT.replace(b"pool/b.deb", b"pool/b\t.deb")]))


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        Index("trixie", "something else\n")
