# SPDX-License-Identifier: Apache-2.0
"""One program running in the guest: its streams to and from ours, until its exit frame.

One select loop that never blocks on any single stream: a slow reader holds up only its program, signals and
resizing pass at any time.
"""

from __future__ import annotations

import os
import select
import socket as sockets
import stat
import time
from collections.abc import Callable
from typing import Protocol

from cove.errors import StorageError
from cove.guest import protocol
from cove.guest.protocol import Frame, Kind, refusal, unreachable

_PIECE = 64 << 10
_HIGH = 256 << 10
"""Bytes of output we hold for a slow reader before the guest has to wait."""


class Source(Protocol):
    """Where stdin comes from: :meth:`fileno` is None when it never has to be waited for."""

    def fileno(self) -> int | None:
        """What to wait for, or None."""

    def read(self, limit: int) -> bytes:
        """At most ``limit`` bytes; none at the end."""


class Sink(Protocol):
    """Where output goes; holds what its reader does not take yet."""

    def fileno(self) -> int | None:
        """What to wait for while :meth:`pending`, or None."""

    def pending(self) -> int:
        """Bytes that wait for the reader."""

    def feed(self, data: bytes) -> None:
        """Take output."""

    def flush(self) -> None:
        """Write what goes without waiting; call it when :meth:`fileno` is writable."""


class MemorySource:
    """stdin from memory."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def fileno(self) -> int | None:
        """Nothing to wait for."""
        return None

    def read(self, limit: int) -> bytes:
        """The next piece."""
        piece, self._rest = bytes(self._rest[:limit]), self._rest[limit:]
        return piece


class MemorySink:
    """Output kept in ``data``."""

    def __init__(self) -> None:
        self.data = bytearray()

    def fileno(self) -> int | None:
        """Nothing to wait for."""
        return None

    def pending(self) -> int:
        """Never anything."""
        return 0

    def feed(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def flush(self) -> None:
        """Nothing to do."""


class FdSource:
    """stdin from a descriptor; one that is not open is at its end."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def fileno(self) -> int | None:
        """The descriptor."""
        return self._handle if _is_open(self._handle) else None

    def read(self, limit: int) -> bytes:
        """What is there."""
        try:
            return os.read(self._handle, limit)
        except OSError:  # closed, a folder, or a terminal that was taken away
            return b""


class FdSink:
    """Output to a descriptor, in pieces that a writable pipe takes without blocking (POSIX: PIPE_BUF)."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._waiting = bytearray()
        self._open = _is_open(handle)
        regular = self._open and stat.S_ISREG(os.fstat(handle).st_mode)
        self._piece = _HIGH if regular else select.PIPE_BUF

    def fileno(self) -> int | None:
        """The descriptor."""
        return self._handle

    def pending(self) -> int:
        """Bytes that its reader has not taken."""
        return len(self._waiting)

    def feed(self, data: bytes) -> None:
        """Keep it for :meth:`flush`; what is written to a closed descriptor is lost, as ever."""
        if self._open:
            self._waiting += data

    def flush(self) -> None:
        """Write one piece.

        Raises:
            BrokenPipeError: its reader is gone.
            StorageError: it cannot be written otherwise, for example because the disk is full.
        """
        try:
            written = os.write(self._handle, memoryview(self._waiting)[: self._piece])
        except BlockingIOError:
            return  # the terminal or pipe was made non-blocking by someone else and is full
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(f"the output cannot be written: {error.strerror}") from error
        del self._waiting[:written]


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


class Session:
    """A program in the guest.

    Args:
        connection: a fresh connection to the agent.
        opening: the request frame.
        source: its stdin.
        out: its stdout.
        err: its stderr.
        wakeup: a descriptor to wait for as well, or None.
        on_wakeup: called when it is readable; gives further frames to send.
    """

    def __init__(
        self,
        connection: sockets.socket,
        opening: bytes,
        *,
        source: Source,
        out: Sink,
        err: Sink,
        wakeup: int | None = None,
        on_wakeup: Callable[[], bytes] = bytes,
    ) -> None:
        self._connection = connection
        self._outgoing = bytearray(opening)
        self._source: Source | None = source
        self._sinks = {Kind.STDOUT: out, Kind.STDERR: err}
        self._wakeup = wakeup
        self._on_wakeup = on_wakeup
        self._decoder = protocol.Decoder()
        self._credit = protocol.WINDOW
        self._started = False
        self._code: int | None = None

    def run(self, *, end: float | None = None, start_end: float | None = None) -> int:
        """Serve it to its end and give its exit code as a shell shows it.

        Args:
            end: on time.monotonic(), when to give up.
            start_end: when to give up unless the guest has said that the program runs.

        Raises:
            TimeoutError: ``end`` or ``start_end`` came.
            BrokenPipeError: the reader of our own output is gone.
            GuestError: the agent refused, or the connection was lost.
        """
        self._connection.setblocking(False)
        while self._code is None or any(sink.pending() for sink in self._sinks.values()):
            self._step(end if self._started else _sooner(end, start_end))
        return self._code

    def _step(self, end: float | None) -> None:
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        waiting = {sink.fileno(): sink for sink in self._sinks.values() if sink.pending()}
        connection = self._connection.fileno()
        source = self._wanted_source()
        readers = [each for each in (self._wakeup, source.fileno() if source else None) if each is not None]
        if self._code is None and all(sink.pending() < _HIGH for sink in waiting.values()):
            readers.append(connection)
        writers = [each for each in waiting if each is not None]
        if self._outgoing and self._code is None:
            writers.append(connection)
        at_once = source is not None and source.fileno() is None
        readable, writable, _ = select.select(readers, writers, [], 0 if at_once else left)
        for handle, sink in waiting.items():
            if handle in writable:
                sink.flush()
        if self._wakeup is not None and self._wakeup in readable:
            self._outgoing += self._on_wakeup()
        if source is not None and (at_once or source.fileno() in readable):
            self._read_source(source)
        if self._outgoing and self._code is None:
            self._send()
        if connection in readable:
            self._receive()

    def _wanted_source(self) -> Source | None:
        """The source, while there is room for what it gives."""
        return (
            self._source if self._credit > 0 and len(self._outgoing) < _HIGH and self._code is None else None
        )

    def _read_source(self, source: Source) -> None:
        if data := source.read(min(_PIECE, self._credit)):
            self._credit -= len(data)
            self._outgoing += protocol.encode(Kind.STDIN, data)
        else:
            self._source = None
            self._outgoing += protocol.encode(Kind.EOF)

    def _send(self) -> None:
        try:
            sent = self._connection.send(memoryview(self._outgoing)[:_HIGH])
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._outgoing.clear()  # what it said before it hung up is still to be read
            return
        del self._outgoing[:sent]

    def _receive(self) -> None:
        try:
            data = self._connection.recv(_HIGH)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            raise unreachable(
                "the connection to the guest was lost; the program there is ended"
                if self._started
                else "the guest agent hung up without an answer"
            )
        for frame in self._decoder.feed(data):
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame.kind in self._sinks:
            self._sinks[frame.kind].feed(frame.payload)
        elif frame.kind is Kind.EVENT:
            event = frame.json()
            self._started = self._started or "started" in event
            consumed = event.get("consumed", 0)
            if isinstance(consumed, int):
                self._credit += consumed
        elif frame.kind is Kind.EXIT:
            self._code = protocol.exit_code(frame.json())
        else:
            raise refusal(frame)


def _sooner(one: float | None, other: float | None) -> float | None:
    given = [each for each in (one, other) if each is not None]
    return min(given) if given else None
