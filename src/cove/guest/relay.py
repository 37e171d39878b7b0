# SPDX-License-Identifier: Apache-2.0
"""Connections to sockets in the guest, each direction ending on its own, and a unix socket that leads to one.

Docker's attach and exec take over their HTTP connection and close one direction while the other still runs, but
gvproxy (0.8.1) closes both as soon as one ends. So on the way through it the bytes travel in chunks: a length of
4 bytes, big-endian, then that many bytes; a length of zero is the end of that direction. The first chunk from us
says where the connection leads. The guest's side of this is ``cove_guest/relay.py`` and ``cove_guest/target.py``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

log = logging.getLogger("cove.relay")

CHUNK = 256 << 10
"""Bytes of the largest chunk that is sent, and the most that is read at once."""

CHUNK_LIMIT = 1 << 20
"""Bytes of the largest chunk that is taken."""

DOCKER = "docker"
"""Where a connection leads: docker's socket."""

LISTENERS = "listeners"
"""Where a connection leads: to news of what host-network containers listen on, a message for each change."""

NAMES = "names"
"""Where a connection leads: to questions for names; see ``cove_guest/names.py`` for the messages."""

_BACKLOG = 256
_HEADER = 4
_FIRST_ROOM = 16 << 10
"""Bytes of a buffer at first; it grows when it is filled."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def tcp(address: str, port: int, *, patience: float = 0.0) -> str:
    """Where a connection leads: a TCP server; one that refuses is tried again for ``patience`` seconds."""
    return f"tcp {address} {port} {max(0, round(patience * 1000))}"


def udp(address: str, port: int) -> str:
    """Where a connection leads: a UDP server. Each message is a byte, zero, and then one datagram."""
    return f"udp {address} {port}"


class Stream:
    """One connection through the guest's relay, as plain bytes. Made by :meth:`Tunnel.open`.

    One task may read while others write. It works on the socket itself: asyncio's own streams copy every byte three
    times on its way, which is what a fast connection is then busy with.

    Args:
        connection: connected, not blocking.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._room = memoryview(bytearray(_FIRST_ROOM))
        self._start = self._end = 0
        self._left = 0

    async def read(self) -> bytes:
        """The next bytes, or none at the end of this direction.

        Raises:
            OSError: the connection broke.
            ValueError: the guest does not speak the protocol.
            EOFError: it was cut off.
        """
        if not self._left:
            self._left = await self._length()
            if not self._left:
                return b""
        if self._start == self._end:
            await self._receive()
        data = self._take(min(self._left, self._end - self._start))
        self._left -= len(data)
        return data

    async def message(self) -> bytes:
        """The next chunk, whole, or none at the end. Raises what :meth:`read` raises."""
        return await self._exactly(await self._length())

    async def write(self, data: bytes) -> None:
        """Send at most :data:`CHUNK` bytes, which arrive as one message, when there is room for them.

        Raises:
            OSError: the connection broke.
        """
        if data:
            await self._send(len(data).to_bytes(_HEADER), data)

    async def end(self) -> None:
        """Tell that nothing more will be sent.

        Raises:
            OSError: the connection broke.
        """
        await self._send(bytes(_HEADER))

    def close(self) -> None:
        """Hang up, in both directions; whoever still reads or writes has to be cancelled."""
        if self._socket.fileno() >= 0:
            # its number may be used again before a task that waits for it learns of the end
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    async def _send(self, *parts: bytes) -> None:
        async with self._turn:
            try:
                sent = self._socket.sendmsg(
                    parts
                )  # length and contents in one piece: apart they are two packets
            except BlockingIOError:
                sent = 0
            rest = memoryview(b"".join(parts))[sent:] if sent < sum(map(len, parts)) else None
            if rest:
                try:
                    await self._loop.sock_sendall(self._socket, rest)
                except BaseException:
                    self.close()  # in the middle of a chunk: nothing can be said any more
                    raise

    async def _length(self) -> int:
        length = int.from_bytes(await self._exactly(_HEADER))
        if length > CHUNK_LIMIT:
            raise ValueError(f"a chunk of {length} bytes, where {CHUNK_LIMIT} are allowed")
        return length

    async def _exactly(self, count: int) -> bytes:
        if self._end - self._start >= count:
            return self._take(count)
        pieces = bytearray(self._take(self._end - self._start))
        while len(pieces) < count:
            try:
                await self._receive()
            except EOFError:
                raise asyncio.IncompleteReadError(bytes(pieces), count) from None
            pieces += self._take(min(count - len(pieces), self._end - self._start))
        return bytes(pieces)

    def _take(self, count: int) -> bytes:
        start, self._start = self._start, self._start + count
        return bytes(self._room[start : self._start])

    async def _receive(self) -> None:
        """Fill the buffer, all of which was taken."""
        count = await self._loop.sock_recv_into(self._socket, self._room)
        if not count:
            raise asyncio.IncompleteReadError(b"", None)
        self._start, self._end = 0, count
        if count == len(self._room) and count < CHUNK:
            # what it holds is whole; the next will be larger
            grown = memoryview(bytearray(count * 4))
            grown[:count] = self._room
            self._room = grown


class Tunnel:
    """The way to the guest.

    Args:
        path: the socket on the host that leads to the guest's relay.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def open(self, where: str) -> Stream:
        """A connection to ``where``; whether it arrives shows when it is read.

        Raises:
            OSError: the network does not take it.
        """
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        stream = Stream(connection)
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(self._path))
            await stream.write(where.encode("ascii"))
        except BaseException:
            stream.close()
            raise
        return stream


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: Stream) -> None:
    """Move bytes both ways until both directions ended; the caller closes the client's side.

    Raises:
        OSError: one of them broke.
        ValueError: the guest does not speak the protocol.
        EOFError: it was cut off.
    """
    directions = asyncio.gather(_outward(reader, stream), _inward(stream, writer))
    try:
        await directions
    except BaseException:
        directions.cancel()  # one way broke: the other has no one left to talk to
        raise
    finally:
        stream.close()


async def _outward(reader: asyncio.StreamReader, stream: Stream) -> None:
    while data := await reader.read(CHUNK):
        await stream.write(data)
    await stream.end()


async def _inward(stream: Stream, writer: asyncio.StreamWriter) -> None:
    while data := await stream.read():
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


class Relay:
    """Listens on a unix socket for its owner only (0600) and serves each connection.

    Args:
        path: where to listen.
        target: the socket that leads to the guest's relay.
        serve: what a connection gets, given its two ends, which are closed afterwards; by default docker's socket.
        changed: told how many connections there are when one comes or goes.
    """

    def __init__(
        self,
        path: Path,
        target: Path,
        *,
        serve: Serve | None = None,
        changed: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._path = path
        self._tunnel = Tunnel(target)
        self._serve_one = serve or self._to_docker
        self._changed = changed
        self._server: asyncio.AbstractServer | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket that was left there is replaced.

        Raises:
            OSError: it cannot be made.
        """
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        self._path.chmod(0o600)
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listener, limit=CHUNK, backlog=_BACKLOG
        )

    async def stop(self) -> None:
        """Listen no more, and close what is open."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            self._changed(len(self._connections))
            task.add_done_callback(self._forget)
        try:
            await self._serve_one(reader, writer)
        except (OSError, EOFError, ValueError) as error:
            log.debug("a relayed connection broke: %s", error)
        except asyncio.CancelledError:
            pass  # we are stopping; the caller waits for us, not for an error
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self._changed(len(self._connections))

    async def _to_docker(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join(reader, writer, await self._tunnel.open(DOCKER))
