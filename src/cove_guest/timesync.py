# SPDX-License-Identifier: Apache-2.0
"""The time after the Mac slept, as vfkit tells it over vsock: one request of the QEMU guest agent's protocol.

vfkit (cmd/vfkit/timesync.go) connects when the Mac wakes and sends lines of JSON, ``guest-set-time`` with
nanoseconds since the epoch; it expects ``{"return": {}}`` and a line end, exactly.
"""

from __future__ import annotations

import _socket
import time

from cove_guest.jsonlite import loads

HOST = 2
"""The address of the host (VMADDR_CID_HOST, vsock(7)): no container can have it."""

_ANY = 0xFFFFFFFF
_LONGEST = 4096
_DONE = b'{"return": {}}\n'
_REFUSED = b'{"error": {"class": "GenericError", "desc": "guest-set-time alone is known here"}}\n'


def serve_for_ever(port: int) -> None:
    """Listen on a vsock port and obey the host alone.

    Raises:
        OSError: the machine has no vsock.
    """
    listener = _socket.socket(_socket.AF_VSOCK, _socket.SOCK_STREAM, 0)
    listener.bind((_ANY, port))
    listener.listen(4)
    while True:
        number, address = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - accept() belongs to socket.py
        connection = _socket.socket(_socket.AF_VSOCK, _socket.SOCK_STREAM, 0, number)
        try:
            if address[0] == HOST:
                serve(connection)
        except OSError:
            pass  # it hung up: the next one comes when the Mac wakes again
        finally:
            connection.close()


def serve(connection: _socket.socket) -> None:
    """Answer every line until the host hangs up."""
    waiting = b""
    while data := connection.recv(_LONGEST):
        waiting += data
        while b"\n" in waiting:
            line, waiting = waiting.split(b"\n", 1)
            connection.sendall(answer(line))
        if len(waiting) > _LONGEST:
            return


def answer(line: bytes) -> bytes:
    """What to reply to a line; sets the clock if that is what it asks for."""
    seconds = wanted(line)
    if seconds is None:
        return _REFUSED
    time.clock_settime(time.CLOCK_REALTIME, seconds)
    return _DONE


def wanted(line: bytes) -> float | None:
    """The time that a request wants to be set, in seconds since the epoch; None if it is no such request."""
    try:
        request = loads(line.decode())
    except ValueError:
        return None
    if not isinstance(request, dict) or request.get("execute") != "guest-set-time":
        return None
    arguments = request.get("arguments")
    nanoseconds = arguments.get("time") if isinstance(arguments, dict) else None
    return nanoseconds / 1e9 if type(nanoseconds) is int else None
