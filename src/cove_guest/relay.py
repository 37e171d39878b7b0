# SPDX-License-Identifier: Apache-2.0
"""Bytes between one connection from the host and a socket of the guest, both ways, each way ending on its own.

docker's attach and exec take over the HTTP connection and close one direction while the other still runs. The
network between us and the host (gvproxy 0.8.1) closes both as soon as one ends, so on the host's side the bytes come
and go in chunks: a length of 4 bytes, big-endian, then that many bytes; a length of zero is the end of that
direction. The first chunk from the host says where the connection leads; see :mod:`cove_guest.target`. The host's
side of this is ``cove/guest/relay.py``.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import os
import select

from cove_guest import workers

CHUNK = 256 << 10
CHUNK_LIMIT = 1 << 20
_FIRST_ROOM = 16 << 10
"""Bytes of a buffer at first; it grows when it is filled."""

_HEADER = 4
_TARGET_LIMIT = 256
_TARGET_DEADLINE = 30_000
"""Milliseconds a connection has to say where it leads."""
_DATAGRAM_LIMIT = 65536


def read_target(client: _socket.socket) -> str:
    """The first chunk of a connection: where it leads.

    Raises:
        OSError: it did not come in time, or cannot be one.
    """
    poll = select.poll()
    poll.register(client.fileno(), select.POLLIN)
    if not poll.poll(_TARGET_DEADLINE):
        raise OSError(errno.ETIMEDOUT, "the connection does not say where it leads")
    length = int.from_bytes(read(client.fileno(), _HEADER), "big")
    if not 0 < length <= _TARGET_LIMIT:
        raise OSError(errno.EPROTO, "the connection does not say where it leads")
    return read(client.fileno(), length).decode("ascii", "replace")


def relay(client: _socket.socket, engine: _socket.socket) -> None:
    """Move bytes both ways until both directions ended or one broke; closes both sockets.

    Args:
        client: the connection from the host, with chunks.
        engine: the connection to docker or a container, with plain bytes.
    """
    client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    pair = _Pair(client, engine)
    try:
        workers.start(lambda: pair.run(pair.to_client))
    except RuntimeError:  # no more threads
        client.close()
        engine.close()
        return
    pair.run(pair.to_engine)


def relay_datagrams(client: _socket.socket, target: _socket.socket) -> None:
    """Move datagrams both ways until the host ends or the connection breaks; the caller closes both sockets.

    Each chunk is one byte, zero, and then one datagram: so an empty datagram is no end.

    Raises:
        OSError: the connection broke, or its chunks are malformed.
    """
    client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    poll = select.poll()
    for each in (client, target):
        poll.register(each.fileno(), select.POLLIN)
    while True:
        for number, _ in poll.poll():
            if number == client.fileno():
                if not _send_datagram(client, target):
                    return
            else:
                try:
                    data = target.recv(_DATAGRAM_LIMIT)
                except OSError:
                    continue  # nobody listens (ICMP): for the one who asked it is lost, as on any network
                write(client.fileno(), (len(data) + 1).to_bytes(_HEADER, "big") + b"\0" + data)


def _send_datagram(client: _socket.socket, target: _socket.socket) -> bool:
    """Pass on one datagram; False at the end."""
    length = int.from_bytes(read(client.fileno(), _HEADER), "big")
    if not length:
        return False
    if length > _DATAGRAM_LIMIT:
        raise OSError(errno.EPROTO, "a datagram is too long")
    data = read(client.fileno(), length)
    try:
        target.send(data[1:])
    except OSError:
        pass  # lost
    return True


class _Pair:
    """Two connected sockets and how many of the two directions still run."""

    def __init__(self, client: _socket.socket, engine: _socket.socket) -> None:
        self._client = client
        self._engine = engine
        self._lock = _thread.allocate_lock()
        self._running = 2

    def to_engine(self) -> None:
        """Chunks to plain bytes, then the end."""
        unwrap(self._client, self._engine)
        self._engine.shutdown(_socket.SHUT_WR)

    def to_client(self) -> None:
        """Plain bytes to chunks; the end is a chunk too."""
        wrap(self._engine, self._client)

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


def wrap(source: _socket.socket, sink: _socket.socket) -> None:
    """Move all bytes of ``source`` to ``sink`` as chunks, then an empty one.

    A chunk goes out with its length in one piece: apart they would be two packets.

    Raises:
        OSError: one of them broke.
    """
    room = _FIRST_ROOM
    view = memoryview(bytearray(_HEADER + room))
    while count := source.recv_into(view[_HEADER:]):
        view[:_HEADER] = count.to_bytes(_HEADER, "big")
        sink.sendall(view[: _HEADER + count])
        if count == room and room < CHUNK:
            room *= 4
            view = memoryview(bytearray(_HEADER + room))
    sink.sendall(bytes(_HEADER))


def unwrap(source: _socket.socket, sink: _socket.socket) -> None:
    """Move the contents of the chunks that ``source`` sends to ``sink``, until the empty one.

    Raises:
        OSError: one of them broke, or the chunks are malformed.
    """
    view = memoryview(bytearray(_FIRST_ROOM))
    held = left = 0
    while True:
        count = source.recv_into(view[held:])
        if not count:
            raise OSError(errno.EPROTO, "the end came without being announced")
        start, end = 0, held + count
        while start < end:
            if left:
                take = min(left, end - start)
                sink.sendall(view[start : start + take])
                start, left = start + take, left - take
                continue
            if end - start < _HEADER:
                break
            left = int.from_bytes(view[start : start + _HEADER], "big")
            start += _HEADER
            if not left:
                return
            if left > CHUNK_LIMIT:
                raise OSError(errno.EPROTO, "a chunk is too long")
        held = end - start
        rest = bytes(view[start:end])  # less than a length
        if end == len(view) and end < CHUNK:
            view = memoryview(bytearray(end * 4))
        view[:held] = rest


def write(sink: int, data: bytes) -> None:
    """Write all of ``data``."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]


def read(source: int, count: int) -> bytes:
    """Exactly ``count`` bytes.

    Raises:
        OSError: it broke, or ended before.
    """
    data = b""
    while len(data) < count:
        piece = os.read(source, count - len(data))
        if not piece:
            raise OSError(errno.EPROTO, "the end came without being announced")
        data += piece
    return data
