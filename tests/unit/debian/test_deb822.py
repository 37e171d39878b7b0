# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cove.debian.deb822 import parse_paragraphs


def test_fields_continuations_comments() -> None:
    text = "A: 1\n# no\nB:\n x\n\ty\nbroken\n z\n\n\n\nA: 2\nURL: http://x:1/\n"
    assert list(parse_paragraphs(text.splitlines())) == [
        {"A": "1", "B": "\nx\ny"},
        {"A": "2", "URL": "http://x:1/"},
    ]


def test_nothing() -> None:
    assert list(parse_paragraphs([])) == []


@given(st.lists(st.text()))
def test_any_text_is_read(lines: list[str]) -> None:
    for paragraph in parse_paragraphs(lines):
        assert paragraph
