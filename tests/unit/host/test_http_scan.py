# SPDX-License-Identifier: Apache-2.0
"""The scanner finds what matters, changes nothing, and does not care how the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.host.http_scan import BODY_LIMIT, HEAD_LIMIT, Action, Call, Creation, RequestScanner, with_body

START = b"POST /v1.45/containers/web/start HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"
PING = b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"
CREATE = b"POST /containers/create?name=a HTTP/1.1\r\nContent-Length: 5\r\n\r\n{1234"
LOAD = (
    b"POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nPOST \r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
)
ATTACH = b"POST /v1.45/containers/web/attach?stream=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def scan(*pieces: bytes) -> tuple[bytes, list[Call], RequestScanner]:
    """All that comes out, as bytes, and the calls in it."""
    scanner = RequestScanner()
    out, calls = b"", []
    for piece in pieces:
        for item in scanner.feed(piece):
            if isinstance(item, Creation):
                out += item.head + item.body
            else:
                out += item.head if isinstance(item, Call) else item
            calls += [item] if isinstance(item, Call) else []
    return out + scanner.finish(), calls, scanner


def test_a_creation_comes_whole() -> None:
    scanner = RequestScanner()
    assert scanner.feed(PING + CREATE[:-3]) == [PING]
    head, body = CREATE[:-5], CREATE[-5:]
    assert scanner.feed(CREATE[-3:] + PING) == [Creation(head=head, body=body, number=2), PING]


def test_a_creation_with_another_body() -> None:
    head = b"POST /containers/create HTTP/1.1\r\ncontent-LENGTH:  2\r\nX-Content-Length: 2\r\n\r\n"
    creation = Creation(head=head, body=b"{}", number=1)
    assert with_body(creation, b"{}") == head + b"{}"
    longer = with_body(creation, b'{"a": 1}')
    assert longer == head.replace(b"LENGTH:  2", b"LENGTH:  8") + b'{"a": 1}'
    (found,) = RequestScanner().feed(longer)
    assert isinstance(found, Creation)
    assert found.body == b'{"a": 1}'


def test_half_a_creation_comes_out_at_the_end() -> None:
    assert scan(CREATE[:-3])[0] == CREATE[:-3]


def test_a_huge_creation_is_not_held_back() -> None:
    head = b"POST /containers/create HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1)
    assert RequestScanner().feed(head) == [head]


@pytest.mark.parametrize(
    ("line", "action", "container"),
    [
        ("POST /containers/web/start", Action.START, "web"),
        ("POST /v1.45/containers/web/start?detachKeys=x", Action.START, "web"),
        ("POST /v1.24/containers/a%2Fb/restart?t=1", Action.RESTART, "a/b"),
        ("POST /containers/0123abc/stop", Action.STOP, "0123abc"),
        ("POST /containers/web/kill?signal=9", Action.KILL, "web"),
        ("DELETE /v1.45/containers/web?force=1", Action.REMOVE, "web"),
    ],
)
def test_requests_that_matter(line: str, action: Action, container: str) -> None:
    head = f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    assert scan(head)[1] == [Call(action=action, container=container, head=head, number=1)]


@pytest.mark.parametrize(
    "line",
    [
        "GET /containers/web/json", "POST /containers/create", "POST /containers/web/pause",
        "GET /containers/web/start",
        "DELETE /containers/web/start", "POST /containers/start", "POST /networks/web/start", "DELETE /images/web",
        "POST /containers/a/b/start", "POST /containers//start",
    ],
)  # fmt: skip
def test_requests_that_do_not(line: str) -> None:
    head = f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    out, calls, scanner = scan(head)
    assert (out, calls, scanner.raw) == (head, [], False)


def test_keep_alive_with_bodies_of_every_kind() -> None:
    _, calls, scanner = scan(PING, CREATE, START, LOAD, START, PING)
    assert [call.number for call in calls] == [3, 5]
    assert scanner.requests == 6
    assert not scanner.raw


def test_a_call_with_a_body() -> None:
    head = b"POST /containers/web/start HTTP/1.1\r\nContent-Length: 2\r\n\r\n"
    out, calls, _ = scan(head + b"{}" + START)
    assert [call.number for call in calls] == [1, 2]
    assert out == head + b"{}" + START


@pytest.mark.parametrize(
    "taking_over",
    [
        ATTACH,
        b"POST /containers/web/attach HTTP/1.1\r\n\r\n",
        b"POST /v1.45/exec/12/start HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /session HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"POST /grpc HTTP/1.1\r\n\r\n",
        b"GET /containers/web/attach/ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        b"POST /containers/web/start HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"POST /containers/web/start HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"CONNECT /x HTTP/1.1\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\r\n\r\n",
    ],
)
def test_everything_is_raw_from_there(taking_over: bytes) -> None:
    out, calls, scanner = scan(PING + taking_over + START)
    assert (out, calls, scanner.raw) == (PING + taking_over + START, [], True)
    out, calls, _ = scan(PING, taking_over, START)
    assert (out, calls) == (PING + taking_over + START, [])


@pytest.mark.parametrize(
    "first", [b"hello", b"\x16", b"GET\t", b"GET x", b"123", b"GET / HTTP/1.1 \n", b"\n"]
)
def test_what_cannot_become_a_request_is_not_held_back(first: bytes) -> None:
    scanner = RequestScanner()
    assert scanner.feed(first) == [first]


def test_endless_heads_are_let_go() -> None:
    scanner = RequestScanner()
    assert scanner.feed(b"GET / HTTP/1.1\r\nA: ") == []
    assert sum(len(item) for item in scanner.feed(b"x" * HEAD_LIMIT) if isinstance(item, bytes)) > HEAD_LIMIT
    assert scanner.raw


def test_half_a_head_comes_out_at_the_end() -> None:
    assert scan(START[:20])[0] == START[:20]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


parts = st.lists(st.sampled_from([START, PING, CREATE, LOAD, ATTACH, b"\r\n", b"junk"]), max_size=6)


@given(parts, st.lists(st.integers(0, 1 << 16), max_size=12))
def test_cuts_change_nothing(requests: list[bytes], places: list[int]) -> None:
    data = b"".join(requests)
    whole, pieces = scan(data), scan(*cut(data, places))
    assert pieces[0] == whole[0] == data
    assert pieces[1] == whole[1]


@given(parts)
def test_byte_by_byte(requests: list[bytes]) -> None:
    data = b"".join(requests)
    assert scan(*(data[at : at + 1] for at in range(len(data))))[:2] == scan(data)[:2]


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_noise_passes_unchanged(pieces: list[bytes]) -> None:
    assert scan(*pieces)[0] == b"".join(pieces)
