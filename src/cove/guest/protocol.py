# SPDX-License-Identifier: Apache-2.0
"""Cove wire, version 1: the frames between host and guest agent. Pure: bytes in, frames out.

A frame is one byte of type, four bytes of length (big-endian), and the payload, at most 1 MiB. A connection
carries one request. The guest's side is ``cove_guest.wire``, which shares no code with this one: the recorded
frames in tests/golden/wire hold the two together. DESIGN.md describes each operation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from cove.errors import GuestError

VERSION = 1

LIMIT = 1 << 20
"""Bytes a payload may have."""

WINDOW = 1 << 20
"""Bytes of stdin that may be under way to a program before the guest says ``consumed``."""

_HEADER = 5


class Kind(IntEnum):
    """What a frame is. Host to guest: REQUEST, STDIN, RESIZE, SIGNAL, EOF. The others come back."""

    REQUEST = 1
    REPLY = 2
    ERROR = 3
    STDIN = 4
    STDOUT = 5
    STDERR = 6
    RESIZE = 7
    SIGNAL = 8
    EOF = 9
    EXIT = 10
    EVENT = 11


class Frame(NamedTuple):
    """One frame."""

    kind: Kind
    payload: bytes

    def json(self) -> dict[str, Any]:
        """The payload as a JSON object.

        Raises:
            GuestError: it is none.
        """
        try:
            value = json.loads(self.payload)
        except ValueError as error:
            raise _malformed(f"a frame {self.kind.name} that is not JSON") from error
        if not isinstance(value, dict):
            raise _malformed(f"a frame {self.kind.name} that is not a JSON object")
        return value


def encode(kind: Kind, payload: bytes = b"") -> bytes:
    """One frame as bytes.

    Raises:
        GuestError: the payload is over :data:`LIMIT`.
    """
    if len(payload) > LIMIT:
        raise GuestError(f"a request of {len(payload)} bytes is too large for the guest agent ({LIMIT})")
    return bytes([kind]) + len(payload).to_bytes(4, "big") + payload


def encode_json(kind: Kind, value: Mapping[str, object]) -> bytes:
    """One frame with a JSON object as its payload."""
    return encode(kind, json.dumps(value, separators=(",", ":"), allow_nan=False).encode())


def request(op: str, args: Mapping[str, object]) -> bytes:
    """The frame that opens a connection."""
    return encode_json(Kind.REQUEST, {"v": VERSION, "op": op, "args": args})


class Decoder:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take what was received; give each frame that is now whole. Use it up before the next call.

        Raises:
            GuestError: an unknown type, or a length over :data:`LIMIT`.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER:
            kind, size = self._buffer[0], int.from_bytes(self._buffer[1:_HEADER], "big")
            if kind not in Kind._value2member_map_ or size > LIMIT:
                raise _malformed(f"a frame of type {kind} with {size} bytes")
            if len(self._buffer) < _HEADER + size:
                return
            frame = Frame(Kind(kind), bytes(self._buffer[_HEADER : _HEADER + size]))
            del self._buffer[: _HEADER + size]
            yield frame


def exit_code(ended: Mapping[str, object]) -> int:
    """The exit code that a shell would show for an EXIT frame: 128 + n for a signal.

    Raises:
        GuestError: the frame says neither.
    """
    code, number = ended.get("code"), ended.get("signal")
    if isinstance(code, int):
        return code
    if isinstance(number, int):
        return 128 + number
    raise _malformed("an exit frame without a code")


def unreachable(message: str) -> GuestError:
    """The error for an agent that is not there (gvproxy takes a connection also when the guest does not)."""
    error = GuestError(
        message, hint="The machine may be starting or stopping: see cove status and cove logs."
    )
    error.code = "unreachable"
    return error


def refusal(frame: Frame) -> GuestError:
    """The error that an ERROR frame tells, or that another unexpected frame is."""
    if frame.kind is not Kind.ERROR:
        return GuestError(f"the guest agent sent a frame {frame.kind.name} that was not expected")
    told = frame.json()
    error = GuestError(f"the guest agent refused: {told.get('message')}")
    error.code = str(told.get("code"))
    return error


def _malformed(what: str) -> GuestError:
    error = GuestError(
        f"the guest agent sent {what}",
        hint="Host and guest may be of different versions: restart the machine.",
    )
    error.code = "malformed"
    return error
