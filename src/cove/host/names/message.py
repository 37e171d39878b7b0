# SPDX-License-Identifier: Apache-2.0
"""As much of DNS's messages as is needed to answer for names of this host, and to pass on all others. Pure.

Source: RFC 1035, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

A, AAAA = 1, 28
"""Types of questions."""

NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME, REFUSED = 0, 2, 3, 5
"""Codes of answers."""

HEADER = 12
"""Bytes of the header."""

_IN = 1
_RESPONSE, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0100, 0x0080
_OPCODE = 0x7800
_CODE = 0x000F
_POINTER_TO_QUESTION = 0xC00C


@dataclass(frozen=True, kw_only=True)
class Question:
    """The one question of a query.

    Args:
        name: in lower case, without the last dot; "" is the root.
        type: :data:`A`, :data:`AAAA` or any other.
        end: where it ends in the message.
    """

    name: str
    type: int
    end: int


def read_question(message: bytes) -> Question | None:
    """The question of a query; None for what is no query with exactly one question of the internet's class."""
    if len(message) < HEADER:
        return None
    if int.from_bytes(message[2:4]) & (_RESPONSE | _OPCODE) or int.from_bytes(message[4:6]) != 1:
        return None
    labels = []
    position = HEADER
    while True:
        length = message[position] if position < len(message) else 64
        position += 1
        if length == 0:
            break
        if length > 63 or position + length > len(message):  # pointers, which a question has no use for
            return None
        labels.append(message[position : position + length].decode("latin-1").lower())
        position += length
    kind, class_ = message[position : position + 2], message[position + 2 : position + 4]
    if len(class_) < 2 or int.from_bytes(class_) != _IN:
        return None
    return Question(name=".".join(labels), type=int.from_bytes(kind), end=position + 4)


def answers(query: bytes, answer: bytes) -> bool:
    """Whether ``answer`` is one to ``query``: the same number, and the same question if it repeats one."""
    if len(answer) < HEADER or answer[:2] != query[:2] or not int.from_bytes(answer[2:4]) & _RESPONSE:
        return False
    question = read_question(query)
    if question is None or not int.from_bytes(answer[4:6]):
        return True
    return answer[HEADER : question.end].lower() == query[HEADER : question.end].lower()


def code(answer: bytes) -> int:
    """The code of an answer."""
    return int.from_bytes(answer[2:4]) & _CODE


def reply(
    query: bytes, question: Question | None, addresses: Sequence[IPv4Address] = (), *, code: int = NO_ERROR
) -> bytes:
    """An answer of our own.

    Args:
        query: what was asked.
        question: what :func:`read_question` made of it; without it only the code is told.
        addresses: the answers to a question for :data:`A`; they are not to be remembered.
        code: what came of it.
    """
    asked = int.from_bytes(query[2:4]) & (_RECURSION_DESIRED | _OPCODE)
    flags = _RESPONSE | _RECURSION_AVAILABLE | asked | code
    counts = (int(question is not None), len(addresses), 0, 0)
    records = b"".join(
        _POINTER_TO_QUESTION.to_bytes(2)
        + A.to_bytes(2)
        + _IN.to_bytes(2)
        + bytes(4)
        + (4).to_bytes(2)
        + one.packed
        for one in addresses
    )
    header = query[:2] + flags.to_bytes(2) + b"".join(count.to_bytes(2) for count in counts)
    return header + (query[HEADER : question.end] if question else b"") + records
