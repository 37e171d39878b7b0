# SPDX-License-Identifier: Apache-2.0
"""Bytes between one TCP connection and docker's socket, both ways, each way ending on its own.

docker's attach and exec take over the HTTP connection and close one direction while the other still runs. The
network between us and the host (gvproxy 0.8.1) closes both as soon as one ends, so on the TCP side the bytes come
and go in chunks: a length of 4 bytes, big-endian, then that many bytes; a length of zero is the end of that
direction. The host's side of this is ``cove/guest/relay.py``.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import fcntl
import os

CHUNK = 256 << 10
CHUNK_LIMIT = 1 << 20
_F_SETPIPE_SZ = 1031
_HEADER = 4


def relay(client: _socket.socket, engine: _socket.socket) -> None:
    """Move bytes both ways until both directions ended or one broke; closes both sockets.

    Args:
        client: the connection from the host, with chunks.
        engine: the connection to docker, with plain bytes.
    """
    client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    pair = _Pair(client, engine)
    try:
        _thread.start_new_thread(pair.run, (pair.to_client,))
    except RuntimeError:  # no more threads
        client.close()
        engine.close()
        return
    pair.run(pair.to_engine)


class _Pair:
    """Two connected sockets and how many of the two directions still run."""

    def __init__(self, client: _socket.socket, engine: _socket.socket) -> None:
        self._client = client
        self._engine = engine
        self._lock = _thread.allocate_lock()
        self._running = 2

    def to_engine(self) -> None:
        """Chunks to plain bytes, then the end."""
        with _Pipe() as pipe:
            unwrap(self._client.fileno(), self._engine.fileno(), pipe)
        self._engine.shutdown(_socket.SHUT_WR)

    def to_client(self) -> None:
        """Plain bytes to chunks; the end is a chunk too."""
        with _Pipe() as pipe:
            wrap(self._engine.fileno(), self._client.fileno(), pipe)

    def run(self, direction) -> None:  # type: ignore[no-untyped-def]  # typing is slow to import
        """Run one direction to its end. A broken one ends the other: shutdown wakes its read."""
        try:
            direction()
        except OSError:
            for each in (self._client, self._engine):
                try:
                    each.shutdown(_socket.SHUT_RDWR)
                except OSError:
                    pass  # it is gone already
        finally:
            with self._lock:
                self._running -= 1
                last = self._running == 0
            if last:  # only now: a number closed earlier could be reused under the other direction
                self._client.close()
                self._engine.close()


class _Pipe:
    """A pipe through which the kernel moves bytes from one socket to another."""

    def __enter__(self) -> _Pipe:  # noqa: PYI034  (typing is slow to import)
        self.outlet, self.inlet = os.pipe2(os.O_CLOEXEC)
        try:
            fcntl.fcntl(self.inlet, _F_SETPIPE_SZ, CHUNK)
        except OSError:
            pass  # over the user's share of pipe pages: the default of 64 KiB stays
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self.outlet)
        os.close(self.inlet)


def wrap(source: int, sink: int, pipe: _Pipe) -> None:
    """Move all bytes of ``source`` to ``sink`` as chunks, then an empty one.

    Raises:
        OSError: one of them broke.
    """
    while moved := _take(source, pipe, CHUNK):
        write(sink, moved.to_bytes(_HEADER, "big"))
        _give(pipe, sink, moved)
    write(sink, bytes(_HEADER))


def unwrap(source: int, sink: int, pipe: _Pipe) -> None:
    """Move the contents of the chunks that ``source`` sends to ``sink``, until the empty one.

    Raises:
        OSError: one of them broke, or the chunks are malformed.
    """
    while length := int.from_bytes(_read(source, _HEADER), "big"):
        if length > CHUNK_LIMIT:
            raise OSError(errno.EPROTO, "a chunk is too long")
        while length:
            moved = _take(source, pipe, min(length, CHUNK))
            if not moved:
                raise OSError(errno.EPROTO, "a chunk was cut off")
            _give(pipe, sink, moved)
            length -= moved


def write(sink: int, data: bytes) -> None:
    """Write all of ``data``."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]


def _read(source: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = os.read(source, count - len(data))
        if not piece:
            raise OSError(errno.EPROTO, "the end came without being announced")
        data += piece
    return data


def _take(source: int, pipe: _Pipe, most: int) -> int:
    return os.splice(source, pipe.inlet, most)


def _give(pipe: _Pipe, sink: int, count: int) -> None:
    while count:
        count -= os.splice(pipe.outlet, sink, count)
