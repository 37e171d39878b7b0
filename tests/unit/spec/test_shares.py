# SPDX-License-Identifier: Apache-2.0
"""Shares: which paths can be shared, in what order they are mounted, and what the guest is told."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.spec.shares import Share, covering, escape, is_below, kernel_words, merge, parse_share

_NAME = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/"), min_size=1)
_PATHS = st.lists(_NAME, min_size=1, max_size=4).map(lambda names: "/home/" + "/".join(names))


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("/home/you", Share(path="/home/you")),
        ("/home/you/", Share(path="/home/you")),
        ("//home//you/../me/.", Share(path="/home/me")),
        ("/data:ro", Share(path="/data", writable=False)),
        ("/data:rw", Share(path="/data")),
        ("/a:b", Share(path="/a:b")),
        ("/a:ro:ro", Share(path="/a:ro", writable=False)),
        ("/var/lib/jenkins", Share(path="/var/lib/jenkins")),
        ("/users", Share(path="/users")),
    ],
)
def test_parse(text: str, share: Share) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "absolute"), ("home/you", "absolute"), (":ro", "absolute"), ("/", "guest has"), ("/a/..", "guest has"),
        ("/etc", "guest has a /etc"), ("/usr/local/src", "guest has a /usr"), ("/var", "guest has a /var/lib"),
        ("/var/lib/docker/x:ro", "docker"), ("/run/user/1000", "guest has a /run"), ("/a\nb", "no text"),
        ("/a\udc80", "no text"),
    ],
)  # fmt: skip
def test_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_share(text)


def test_the_last_word_counts_and_parents_come_first() -> None:
    outer, inner, read_only = Share(path="/a"), Share(path="/a/b"), Share(path="/a", writable=False)
    assert merge([inner, outer, read_only]) == (read_only, inner)


def test_covering_finds_the_innermost() -> None:
    outer, inner = Share(path="/a"), Share(path="/a/b", writable=False)
    assert covering([outer, inner], "/a/b/c") == inner
    assert covering([outer, inner], "/a/bc") == outer
    assert covering([outer, inner], "/ab") is None


def test_kernel_words() -> None:
    shares = [Share(path="/home/John Doe"), Share(path="/é:%*", writable=False)]
    assert kernel_words(shares, ["/home/John Doe/.cove"]) == (
        "cove.share=cove0:rw:/home/John%040Doe",
        "cove.share=cove1:ro:/%303%251%072%045%052",
        "cove.hide=/home/John%040Doe/.cove",
    )
    assert kernel_words(shares[:1], [], mount_type="9p")[0] == "cove.mount=9p"
    assert kernel_words([], [], mount_type="9p") == ()


@given(_PATHS)
def test_a_path_is_one_plain_word_and_can_be_read_again(path: str) -> None:
    word = escape(path)
    assert re.fullmatch(r"[A-Za-z0-9/._+@=%-]+", word)
    # as the guest's shell does it: %OCT becomes \0OCT, which printf %b understands
    assert re.sub(rb"%(\d{3})", lambda found: bytes([int(found[1], 8)]), word.encode()).decode() == path


@given(_PATHS, _PATHS)
def test_below_is_what_begins_with_the_folder(path: str, folder: str) -> None:
    assert is_below(path, folder) == (f"{path}/".startswith(f"{folder}/"))
