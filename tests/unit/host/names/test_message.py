# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.host.names.message import A, Question, answers, code, read_question, reply

# recorded: dig +noedns +norecurse-like queries of a stub resolver
QUERY = bytes.fromhex("beef01000001000000000000 04486f7374 06646f636b6572 08696e7465726e616c 00 0001 0001")


def query(name: str, kind: int = A, number: int = 7) -> bytes:
    """A question as a stub resolver asks it."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label)
    header = number.to_bytes(2) + b"\x01\x00" + b"\0\1" + bytes(6)
    return header + labels + b"\0" + kind.to_bytes(2) + b"\0\1"


def test_a_question_is_read() -> None:
    assert read_question(QUERY) == Question(name="host.docker.internal", type=A, end=len(QUERY))


def test_what_follows_the_question_is_left_alone() -> None:
    edns = bytes.fromhex("0000291000000000000000")
    counted = QUERY[:11] + b"\1" + QUERY[12:] + edns
    found = read_question(counted)
    assert found is not None
    assert counted[found.end :] == edns


@pytest.mark.parametrize(
    "message",
    [
        b"",
        QUERY[:11],
        QUERY[:-1],
        QUERY[:20],
        QUERY[:2] + b"\x81\x00" + QUERY[4:],  # an answer
        QUERY[:2] + b"\x29\x00" + QUERY[4:],  # an update
        QUERY[:4] + b"\0\2" + QUERY[6:],  # two questions
        QUERY[:12] + b"\xc0\x0c\0\1\0\1",  # a pointer to itself
        QUERY[:-2] + b"\0\3",  # another class
    ],
)
def test_what_is_no_question_is_told(message: bytes) -> None:
    assert read_question(message) is None


@given(st.binary(max_size=300))
def test_nothing_breaks_the_reading(message: bytes) -> None:
    found = read_question(message)
    assert found is None or 12 < found.end <= len(message)
    answers(message, message)


def test_an_answer_with_an_address() -> None:
    question = read_question(QUERY)
    found = reply(QUERY, question, [IPv4Address("192.168.127.254")])
    assert found == (
        bytes.fromhex("beef818000010001 00000000")
        + QUERY[12:]
        + bytes.fromhex("c00c 0001 0001 00000000 0004 c0a87ffe")
    )
    assert answers(QUERY, found)
    assert code(found) == 0


def test_an_answer_without_a_question() -> None:
    found = reply(QUERY, None, code=5)
    assert found == bytes.fromhex("beef8185 0000000000000000")
    assert answers(QUERY, found)


def test_answers_of_others_are_not_ours() -> None:
    good = reply(QUERY, read_question(QUERY))
    assert answers(QUERY, good)
    assert not answers(QUERY, b"\0\1" + good[2:])  # another number
    assert not answers(QUERY, QUERY)  # no answer at all
    assert not answers(QUERY, good[:11])
    other = query("elsewhere.docker.internal", number=0xBEEF)
    assert not answers(QUERY, reply(other, read_question(other)))
