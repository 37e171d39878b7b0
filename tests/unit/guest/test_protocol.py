# SPDX-License-Identifier: Apache-2.0
"""Both ends of cove wire against the recorded frames, and against each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import GuestError
from cove.guest import protocol
from cove.guest.protocol import Decoder, Frame, Kind
from cove_guest import jsonlite, wire
from tests.conftest import GOLDEN

RECORDED = json.loads((GOLDEN / "wire" / "frames.json").read_text())
BYTES = (GOLDEN / "wire" / "frames.bin").read_bytes()

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
frames = st.lists(st.tuples(st.sampled_from(list(Kind)), st.binary(max_size=300)), max_size=6)
cuts = st.lists(st.integers(1, 400), max_size=12)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    cut = []
    for size in sizes:
        cut.append(data[:size])
        data = data[size:]
    return [*cut, data]


def payload(frame: dict[str, Any]) -> bytes:
    if "json" in frame:
        return json.dumps(frame["json"], separators=(",", ":")).encode()
    return bytes.fromhex(frame.get("hex", ""))


def test_host_writes_the_recorded_frames() -> None:
    assert b"".join(protocol.encode(Kind[frame["type"]], payload(frame)) for frame in RECORDED) == BYTES


def test_guest_writes_the_recorded_frames() -> None:
    written = b""
    for frame in RECORDED:
        kind = getattr(wire, frame["type"])
        written += wire.pack_json(kind, frame["json"]) if "json" in frame else wire.pack(kind, payload(frame))
    assert written == BYTES


def test_both_read_the_recorded_frames() -> None:
    expected = [(Kind[frame["type"]], payload(frame)) for frame in RECORDED]
    assert list(Decoder().feed(BYTES)) == expected
    assert wire.Decoder().feed(BYTES) == expected
    for frame in RECORDED:
        if "json" in frame:
            assert (
                wire.unpack_json(payload(frame)) == Frame(Kind.REPLY, payload(frame)).json() == frame["json"]
            )


def test_every_kind_is_recorded() -> None:
    assert {frame["type"] for frame in RECORDED} == {kind.name for kind in Kind}


def test_numbers_agree() -> None:
    assert {kind.name: kind.value for kind in Kind} == {kind.name: getattr(wire, kind.name) for kind in Kind}
    assert (protocol.VERSION, protocol.LIMIT, protocol.WINDOW) == (wire.VERSION, wire.LIMIT, wire.WINDOW)


@given(frames, cuts)
def test_any_cut_of_the_stream_gives_the_same_frames(
    sent: list[tuple[Kind, bytes]], sizes: list[int]
) -> None:
    stream = b"".join(wire.pack(kind, data) for kind, data in sent)
    assert stream == b"".join(protocol.encode(kind, data) for kind, data in sent)
    host, guest = Decoder(), wire.Decoder()
    cut = pieces(stream, sizes)
    assert [frame for piece in cut for frame in host.feed(piece)] == sent
    assert [frame for piece in cut for frame in guest.feed(piece)] == sent


@given(st.binary(max_size=400))
def test_any_bytes_are_frames_or_malformed_for_both_alike(data: bytes) -> None:
    try:
        found = wire.Decoder().feed(data)
    except wire.MalformedError:
        with pytest.raises(GuestError, match="sent a frame of type"):
            list(Decoder().feed(data))
    else:
        assert list(Decoder().feed(data)) == found


@given(values)
def test_guest_json_is_the_json_of_everyone(value: object) -> None:
    text = jsonlite.dumps(value)
    assert text == json.dumps(value, separators=(",", ":"))
    assert jsonlite.loads(text) == json.loads(text) == value


@pytest.mark.parametrize(
    "text", ["", "{", '{"a":}', "nope", "NaN", "1 2", '{"a":1}x', "[" * 100000, "'a'", '"\x01"']
)
def test_guest_json_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        jsonlite.loads(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"", object(), {"a": {1}}])
def test_guest_json_has_no_form_for(value: object) -> None:
    with pytest.raises(TypeError):
        jsonlite.dumps(value)


def test_too_large() -> None:
    with pytest.raises(GuestError, match="too large"):
        protocol.encode(Kind.STDIN, bytes(protocol.LIMIT + 1))
    with pytest.raises(wire.RefusedError, match="a frame holds"):
        wire.pack_json(wire.REPLY, {"x": "y" * wire.LIMIT})


@pytest.mark.parametrize(("ended", "code"), [({"code": 0}, 0), ({"code": 3}, 3), ({"signal": 15}, 143)])
def test_exit_code(ended: dict[str, object], code: int) -> None:
    assert protocol.exit_code(ended) == code


def test_exit_without_code() -> None:
    with pytest.raises(GuestError, match="exit frame without a code") as caught:
        protocol.exit_code({})
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("data", [b"[]", b"{", b"\xff"])
def test_payload_that_is_no_object(data: bytes) -> None:
    with pytest.raises(GuestError):
        Frame(Kind.REPLY, data).json()
    with pytest.raises(wire.MalformedError):
        wire.unpack_json(data)
