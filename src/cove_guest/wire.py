# SPDX-License-Identifier: Apache-2.0
"""The guest's side of cove wire, version 1: frames on a TCP connection.

A frame is one byte of type, four bytes of length (big-endian), and the payload, at most 1 MiB. The host's
side is ``cove.guest.protocol``; the recorded frames in tests/golden/wire hold the two together.
"""

from __future__ import annotations

from cove_guest import jsonlite

VERSION = 1

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

LIMIT = 1 << 20
"""Bytes a payload may have."""

WINDOW = 1 << 20
"""Bytes of stdin the host may have sent that no ``consumed`` event has acknowledged yet."""

_HEADER = 5
_KINDS = range(REQUEST, EVENT + 1)


class MalformedError(Exception):
    """The peer does not speak this protocol; its connection is closed."""


class RefusedError(Exception):
    """A request that is answered with an error frame.

    Args:
        code: one word for programs.
        message: a sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def pack(kind: int, payload: bytes = b"") -> bytes:
    """One frame as bytes."""
    return bytes((kind,)) + len(payload).to_bytes(4, "big") + payload


def pack_json(kind: int, value: dict[str, object]) -> bytes:
    """One frame with a JSON object as its payload.

    Raises:
        RefusedError: ``too-large``: it does not fit into a frame.
    """
    payload = jsonlite.dumps(value).encode("ascii")
    if len(payload) > LIMIT:
        raise RefusedError("too-large", f"the answer has {len(payload)} bytes, a frame holds {LIMIT}")
    return pack(kind, payload)


def unpack_json(payload: bytes) -> dict[str, object]:
    """The JSON object in a payload.

    Raises:
        MalformedError: it is not a JSON object.
    """
    try:
        value = jsonlite.loads(payload.decode())
    except ValueError as error:
        raise MalformedError(str(error)) from error
    if not isinstance(value, dict):
        raise MalformedError("not a JSON object")
    return value


class Decoder:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take what was received; give the (type, payload) of each frame that is now whole.

        Raises:
            MalformedError: an unknown type or a length over :data:`LIMIT`; the stream cannot be read further.
        """
        buffer = self._buffer
        buffer += data
        frames: list[tuple[int, bytes]] = []
        start = 0
        while len(buffer) - start >= _HEADER:
            kind = buffer[start]
            size = int.from_bytes(buffer[start + 1 : start + _HEADER], "big")
            if kind not in _KINDS or size > LIMIT:
                raise MalformedError(f"frame of type {kind} with {size} bytes")
            end = start + _HEADER + size
            if len(buffer) < end:
                break
            frames.append((kind, bytes(buffer[start + _HEADER : end])))
            start = end
        del buffer[:start]
        return frames
