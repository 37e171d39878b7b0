# SPDX-License-Identifier: Apache-2.0
"""One running ``exec``: frames from the host to the program, its output to the host, until one of them ends.

One thread, one poll. The socket is always read, so a signal or a hang-up is never stuck behind input that the
program does not take: the host keeps at most ``WINDOW`` bytes of stdin unacknowledged. The program's output
stops being read while the host is slow.
"""

from __future__ import annotations

import _socket
import os
import select
import time

from cove_guest import wire
from cove_guest.lean import signals
from cove_guest.spawn import Child, window_size

_PIECE = 64 << 10
_HIGH = 256 << 10
"""Bytes of output that wait for the host before the program has to wait."""

_LINGER = 5.0
"""Seconds the host has to close after its exit frame. Closing first, with input unread, would reset the
connection and could destroy that frame on its way."""


class _GoneError(Exception):
    """The host hung up or does not speak the protocol."""


_RUNNING: set[_Session] = set()


def serve(
    connection: _socket.socket, decoder: wire.Decoder, early: list[tuple[int, bytes]], child: Child
) -> None:
    """Serve ``child`` to its end, or end it when the host is gone; the caller closes the connection.

    Args:
        connection: where the request came from.
        decoder: what cuts its frames.
        early: frames that arrived together with the request.
        child: the program, just started.
    """
    session = _Session(connection, decoder, child)
    _RUNNING.add(session)
    try:
        session.run(early)
    except (_GoneError, wire.MalformedError, wire.RefusedError, OSError):
        session.abandon()
    finally:
        _RUNNING.discard(session)


def running() -> int:
    """How many programs are served now."""
    return len(_RUNNING)


class _Session:
    def __init__(self, connection: _socket.socket, decoder: wire.Decoder, child: Child) -> None:
        self._connection = connection
        self._decoder = decoder
        self._child = child
        self._reaped = False
        self._exit = b""
        self._outgoing = bytearray(wire.pack_json(wire.EVENT, {"started": child.pid}))
        self._input = bytearray()
        self._input_ends = False
        self._consumed = 0  # bytes of stdin not yet acknowledged

    def run(self, early: list[tuple[int, bytes]]) -> None:
        """Serve until the exit frame is delivered; raises when the host is gone."""
        self._connection.setblocking(False)
        for frame in early:
            self._take(*frame)
        child = self._child
        while not (self._reaped and child.stdout < 0 and child.stderr < 0):
            self._step()
        self._outgoing += self._exit
        while self._outgoing:
            self._wait({self._connection.fileno(): select.POLLIN | select.POLLOUT})
            self._exchange()
        self._connection.shutdown(_socket.SHUT_WR)
        end = time.monotonic() + _LINGER
        while (left := end - time.monotonic()) > 0:
            self._connection.settimeout(left)
            if not self._connection.recv(_PIECE):
                return

    def abandon(self) -> None:
        """Leave nothing of the program behind."""
        self._child.release()
        if not self._reaped:
            self._child.hang_up()

    def _step(self) -> None:
        child = self._child
        interest = {self._connection.fileno(): select.POLLIN | (select.POLLOUT if self._outgoing else 0)}
        room = len(self._outgoing) < _HIGH
        if self._input and child.stdin >= 0:
            interest[child.stdin] = select.POLLOUT
        for end in {child.stdout, child.stderr} - {-1}:
            if room:
                interest[end] = interest.get(end, 0) | select.POLLIN
        if not self._reaped:
            interest[child.handle] = select.POLLIN
        # once it has ended, what it left in the pipes is read without waiting for others who hold them open
        ready = self._wait(interest, at_once=self._reaped and room)
        self._exchange()
        if child.handle in ready and not self._reaped:
            self._end()
            return
        self._feed()
        if room:
            for kind, end in ((wire.STDOUT, child.stdout), (wire.STDERR, child.stderr)):
                if end in ready or (self._reaped and end >= 0):
                    self._drain(kind, end)

    @staticmethod
    def _wait(interest: dict[int, int], *, at_once: bool = False) -> set[int]:
        poll = select.poll()
        for handle, events in interest.items():
            poll.register(handle, events)
        return {handle for handle, _ in poll.poll(0 if at_once else None)}

    def _exchange(self) -> None:
        """Send what waits and take what came, as far as both go without waiting."""
        try:
            if self._outgoing:
                del self._outgoing[: self._connection.send(memoryview(self._outgoing)[:_HIGH])]
        except BlockingIOError:
            pass
        try:
            data = self._connection.recv(_PIECE)
        except BlockingIOError:
            return
        if not data:
            raise _GoneError
        for frame in self._decoder.feed(data):
            self._take(*frame)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == wire.STDIN and not self._input_ends:
            self._input += payload
            if len(self._input) > wire.WINDOW:
                raise wire.MalformedError("more stdin than the window allows")
            self._feed()
        elif kind == wire.EOF:
            if self._child.tty and not self._input_ends:
                self._input += b"\x04"  # a terminal has no other end of input
            self._input_ends = True
            self._feed()
        elif kind == wire.RESIZE:
            self._child.resize(window_size(wire.unpack_json(payload)))
        elif kind == wire.SIGNAL:
            number = getattr(signals, f"SIG{wire.unpack_json(payload).get('name')}", None)
            if isinstance(number, int) and not self._reaped:
                self._child.signal(number)
        else:
            raise wire.MalformedError(f"a frame of type {kind} during exec")

    def _feed(self) -> None:
        """Give the program what input it takes now, acknowledge it, and close it at its end."""
        child = self._child
        taken = 0
        try:
            if self._input and child.stdin >= 0:
                taken = os.write(child.stdin, memoryview(self._input)[:_PIECE])
        except BlockingIOError:
            return
        except OSError:  # it reads no more: drop the rest, as a broken pipe does
            taken = len(self._input)
            if not child.tty:
                child.close(child.stdin)
        if child.stdin < 0:
            taken = len(self._input)
        del self._input[:taken]
        self._consumed += taken
        if self._consumed >= wire.WINDOW // 4:
            self._outgoing += wire.pack_json(wire.EVENT, {"consumed": self._consumed})
            self._consumed = 0
        if self._input_ends and not self._input and child.stdin >= 0 and not child.tty:
            child.close(child.stdin)

    def _drain(self, kind: int, end: int) -> None:
        try:
            data = os.read(end, _PIECE)
        except BlockingIOError:
            if self._reaped:
                self._child.close(end)
            return
        except OSError:  # EIO: nobody has the terminal open any more
            data = b""
        if data:
            self._outgoing += wire.pack(kind, data)
        elif not self._child.tty or self._reaped:
            self._child.close(end)
        else:
            self._reap_hung_terminal()

    def _reap_hung_terminal(self) -> None:
        """A terminal that nobody has open stays readable for ever: wait for the program alone, then close."""
        self._wait({self._child.handle: select.POLLIN, self._connection.fileno(): select.POLLRDHUP})
        self._exchange()

    def _end(self) -> None:
        code = self._child.reap()
        self._reaped = True
        self._exit = wire.pack_json(wire.EXIT, {"code": code} if code >= 0 else {"signal": -code})
