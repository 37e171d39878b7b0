# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cove.machine.boot.console import Keys


def keys() -> tuple[Keys, list[str]]:
    done: list[str] = []
    return Keys(on_quit=lambda: done.append("quit"), on_help=lambda: done.append("help")), done


def test_keys_go_to_the_guest() -> None:
    made, done = keys()
    assert made.feed(b"hello\x03\x1b[A\r") == b"hello\x03\x1b[A\r"
    assert done == []


def test_behind_ctrl_a() -> None:
    made, done = keys()
    assert made.feed(b"a\x01xb\x01?\x01h\x01Xc") == b"abc"
    assert done == ["quit", "help", "help", "quit"]


def test_in_two_pieces() -> None:
    made, done = keys()
    assert (made.feed(b"\x01"), made.feed(b"x")) == (b"", b"")
    assert done == ["quit"]


def test_a_ctrl_a_for_the_guest() -> None:
    made, done = keys()
    assert made.feed(b"\x01\x01\x01a\x01z!") == b"\x01\x01!"
    assert done == []


@given(st.lists(st.binary(max_size=8)))
def test_how_keys_are_cut_makes_no_difference(pieces: list[bytes]) -> None:
    one, done_one = keys()
    other, done_other = keys()
    assert b"".join(map(one.feed, pieces)) == other.feed(b"".join(pieces))
    assert done_one == done_other
