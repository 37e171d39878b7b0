# SPDX-License-Identifier: Apache-2.0
"""A unix socket on the host that leads to a socket in the guest, each direction ending on its own.

Docker's attach and exec take over their HTTP connection and close one direction while the other still runs, but
gvproxy (0.8.1) closes both as soon as one ends. So on the way through it the bytes travel in chunks: a length of
4 bytes, big-endian, then that many bytes; a length of zero is the end of that direction. The guest's side of this
is ``cove_guest/relay.py``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

log = logging.getLogger("cove.relay")

CHUNK = 256 << 10
"""Bytes of the largest chunk that is sent, and the most that is read at once."""

CHUNK_LIMIT = 1 << 20
"""Bytes of the largest chunk that is taken."""

_BACKLOG = 256


class Relay:
    """Listens on a socket for its owner only (0600) and relays each connection.

    Args:
        path: where to listen.
        target: the socket that leads to the guest's relay.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self._path = path
        self._target = target
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
            task.add_done_callback(self._connections.discard)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            log.debug("a relayed connection broke: %s", error)
        except asyncio.CancelledError:
            pass  # we are stopping; the caller waits for us, not for an error
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guest_reader, guest_writer = await asyncio.open_unix_connection(self._target, limit=CHUNK)
        try:
            directions = asyncio.gather(_wrap(reader, guest_writer), _unwrap(guest_reader, writer))
            try:
                await directions
            except BaseException:
                directions.cancel()  # one way broke: the other has no one left to talk to
                raise
        finally:
            guest_writer.close()


async def _wrap(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Send what comes as chunks, and its end as an empty one."""
    while data := await source.read(CHUNK):
        sink.write(len(data).to_bytes(4))
        sink.write(data)
        await sink.drain()
    sink.write(bytes(4))
    await sink.drain()


async def _unwrap(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Send the contents of chunks, and pass on the end."""
    while length := int.from_bytes(await source.readexactly(4)):
        if length > CHUNK_LIMIT:
            raise ValueError(f"a chunk of {length} bytes, where {CHUNK_LIMIT} are allowed")
        while length:
            data = await source.read(min(length, CHUNK))
            if not data:
                raise asyncio.IncompleteReadError(b"", length)
            sink.write(data)
            await sink.drain()
            length -= len(data)
    if sink.can_write_eof():
        sink.write_eof()
