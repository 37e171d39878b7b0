# SPDX-License-Identifier: Apache-2.0
"""One control connection: one request, answered on the connection it came on."""

from __future__ import annotations

import _socket
import time

from cove_guest import ops, wire
from cove_guest.requests import Context, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Frames = list[tuple[int, bytes]]

_DEADLINE = 30.0
"""Seconds a peer has for its request, and for taking the reply."""


def serve(connection: _socket.socket, context: Context) -> None:
    """Serve the connection to its end; the caller closes it.

    Raises:
        MalformedError: the peer does not speak the protocol.
        OSError: the connection broke.
    """
    _keep_alive(connection)
    decoder = wire.Decoder()
    frames = _first_frames(connection, decoder)
    if not frames:
        return
    op, arguments, version = _request(*frames.pop(0))
    then = None
    try:
        if op == "exec" and version == wire.VERSION:
            _exec(connection, decoder, frames, arguments)
            return
        answer, then = _operate(op, arguments, version, connection.fileno(), context)
    except wire.RefusedError as error:
        answer = wire.pack_json(wire.ERROR, {"code": error.code, "message": str(error)})
    connection.settimeout(_DEADLINE)
    connection.sendall(answer)
    if then:
        then()


def _request(kind: int, payload: bytes) -> tuple[str, dict[str, object], object]:
    request = wire.unpack_json(payload)
    op, arguments = request.get("op"), request.get("args", {})
    if kind != wire.REQUEST or not isinstance(op, str) or not isinstance(arguments, dict):
        raise wire.MalformedError("no request")
    return op, arguments, request.get("v")


def _operate(
    op: str, arguments: dict[str, object], version: object, peer: int, context: Context
) -> tuple[bytes, Callable[[], None] | None]:
    if version != wire.VERSION:
        raise wire.RefusedError("version", f"the agent speaks version {wire.VERSION}, not {version}")
    request = Request(arguments, peer)
    return wire.pack_json(wire.REPLY, ops.run(context, op, request)), request.then


def _exec(
    connection: _socket.socket, decoder: wire.Decoder, early: Frames, arguments: dict[str, object]
) -> None:
    from cove_guest import session, spawn

    program = spawn.Program(arguments)
    try:
        child = spawn.spawn(program)
    except OSError as error:
        raise wire.RefusedError("failed", f"exec: {error.strerror}") from error
    session.serve(connection, decoder, early, child)


def _first_frames(connection: _socket.socket, decoder: wire.Decoder) -> Frames:
    """What came up to and with the first whole frame; nothing if the peer hung up or was silent too long."""
    end = time.monotonic() + _DEADLINE
    while (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        if not (data := connection.recv(65536)):
            return []
        if frames := decoder.feed(data):
            return frames
    return []


def _keep_alive(connection: _socket.socket) -> None:
    """Answer without delay, and find out within a minute when the other end vanished without a word."""
    connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    for option, value in ((_socket.TCP_KEEPIDLE, 30), (_socket.TCP_KEEPINTVL, 10), (_socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(_socket.IPPROTO_TCP, option, value)
