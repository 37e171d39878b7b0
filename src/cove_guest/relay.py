# SPDX-License-Identifier: Apache-2.0
"""Bytes between one TCP connection and docker's socket, both ways, each way ending on its own.

docker's attach and exec take over the HTTP connection and close one direction while the other still runs, so
the end of one direction is passed on as just that.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import fcntl
import os

_CHUNK = 256 << 10
_F_SETPIPE_SZ = 1031


def relay(client: _socket.socket, engine: _socket.socket) -> None:
    """Move bytes both ways until both directions ended or one broke; closes both sockets."""
    client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    pair = _Pair(client, engine)
    try:
        _thread.start_new_thread(pair.pump, (engine, client))
    except RuntimeError:  # no more threads
        client.close()
        engine.close()
        return
    pair.pump(client, engine)


class _Pair:
    """Two connected sockets and how many of the two directions still run."""

    def __init__(self, one: _socket.socket, other: _socket.socket) -> None:
        self._sockets = (one, other)
        self._lock = _thread.allocate_lock()
        self._running = 2

    def pump(self, source: _socket.socket, sink: _socket.socket) -> None:
        """Move one direction to its end. A broken one ends the other: shutdown wakes its read."""
        try:
            copy(source.fileno(), sink.fileno())
            sink.shutdown(_socket.SHUT_WR)
        except OSError:
            for each in self._sockets:
                try:
                    each.shutdown(_socket.SHUT_RDWR)
                except OSError:
                    pass  # it is gone already
        finally:
            with self._lock:
                self._running -= 1
                last = self._running == 0
            if last:  # only now: a number closed earlier could be reused under the other direction
                for each in self._sockets:
                    each.close()


def copy(source: int, sink: int) -> None:
    """Move bytes from one socket to the other until ``source`` ends, inside the kernel where it can.

    Raises:
        OSError: one of them broke.
    """
    outlet, inlet = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            fcntl.fcntl(inlet, _F_SETPIPE_SZ, _CHUNK)
        except OSError:
            pass  # over the user's share of pipe pages: the default of 64 KiB stays
        _splice(source, inlet, outlet, sink)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        _copy_buffered(source, sink)
    finally:
        os.close(outlet)
        os.close(inlet)


def _splice(source: int, inlet: int, outlet: int, sink: int) -> None:
    while moved := os.splice(source, inlet, _CHUNK):
        while moved:
            moved -= os.splice(outlet, sink, moved)


def _copy_buffered(source: int, sink: int) -> None:
    """For a kernel that cannot splice sockets; it says so before it has taken any byte."""
    while data := os.read(source, _CHUNK):
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(sink, rest) :]
