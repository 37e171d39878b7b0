# SPDX-License-Identifier: Apache-2.0
"""Let User-Mode Linux and virtiofsd understand each other's vhost-user messages.

The two disagree on the length of two messages of the setup (Linux 6.12, virtiofsd 1.13): the kernel asks for the
device's configuration without the room for it, and sends its memory table with room for regions that it does not
have. :class:`VhostBridge` stands between them and makes both as the protocol has them. Data does not pass here: once
set up, the two talk through the guest's memory and event descriptors.

Source: docs/interop/vhost-user.rst of QEMU; arch/um/drivers/virtio_uml.c of Linux.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SET_MEM_TABLE, GET_CONFIG = 5, 24
_HEADER = struct.Struct("<III")
_CONFIG = struct.Struct("<III")
_REGION = 32
_LARGEST = 1 << 16
_MOST_FDS = 16


def corrected(request: int, body: bytes) -> bytes:
    """The body of a message of the kernel as the protocol has it; others than the two are as they were. Pure."""
    if request == GET_CONFIG and len(body) == _CONFIG.size:
        _offset, size, _flags = _CONFIG.unpack(body)
        return body + bytes(min(size, _LARGEST))
    if request == SET_MEM_TABLE and len(body) >= 8:
        (regions,) = struct.unpack_from("<I", body)
        return body[: 8 + _REGION * regions]
    return body


class VhostBridge:
    """Listens for one kernel and connects it to one virtiofsd.

    Args:
        front: the socket to make, for the kernel.
        back: the socket of virtiofsd, which listens when the kernel comes.
    """

    def __init__(self, front: Path, back: Path) -> None:
        self._front = front
        self._back = back
        self._sockets: list[socket.socket] = []

    def start(self) -> None:
        """Listen; call it inside the event loop that is to do the work."""
        listener = socket.socket(socket.AF_UNIX)
        self._sockets.append(listener)
        listener.setblocking(False)
        self._front.unlink(missing_ok=True)
        listener.bind(str(self._front))
        listener.listen(1)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def stop(self) -> None:
        """Close everything; not listening is fine."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one)
            one.close()
        self._sockets.clear()
        self._front.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        kernel, _ = listener.accept()
        daemon = socket.socket(socket.AF_UNIX)
        try:
            daemon.connect(str(self._back))
        except OSError:
            kernel.close()  # virtiofsd is gone, which the supervisor notices by itself
            daemon.close()
            return
        self._sockets += [kernel, daemon]
        loop = asyncio.get_running_loop()
        for one, other, correct in ((kernel, daemon, corrected), (daemon, kernel, _as_it_is)):
            one.setblocking(False)
            messages = _Messages(one, other, correct)
            loop.add_reader(one, self._pass_on, messages)

    def _pass_on(self, messages: _Messages) -> None:
        if not messages.pass_on():
            loop = asyncio.get_running_loop()
            for one in (messages.source, messages.target):
                loop.remove_reader(one)
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


class _Messages:
    """The messages of one direction: a header with the length of the body, and descriptors beside them."""

    def __init__(
        self, source: socket.socket, target: socket.socket, correct: Callable[[int, bytes], bytes]
    ) -> None:
        self.source = source
        self.target = target
        self._correct = correct
        self._data = b""
        self._handles: list[int] = []

    def pass_on(self) -> bool:
        """Pass on what has come whole; says whether more can come."""
        try:
            data, handles, _, _ = socket.recv_fds(self.source, self._missing(), _MOST_FDS)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._data += data
        self._handles += handles
        if not data:
            self._drop()
            return False
        if len(self._data) >= _HEADER.size and not self._missing():
            return self._send()
        return True

    def _missing(self) -> int:
        if len(self._data) < _HEADER.size:
            return _HEADER.size - len(self._data)
        size: int = _HEADER.unpack_from(self._data)[2]
        return _HEADER.size + min(size, _LARGEST) - len(self._data)

    def _send(self) -> bool:
        request, flags, _ = _HEADER.unpack_from(self._data)
        body = self._correct(request, self._data[_HEADER.size :])
        message = _HEADER.pack(request, flags, len(body)) + body
        try:
            # a few hundred bytes, and one message is answered before the next: it always fits
            sent = socket.send_fds(self.target, [message], self._handles)
        except OSError:
            return False
        finally:
            self._drop()
        return sent == len(message)

    def _drop(self) -> None:
        for handle in self._handles:
            os.close(handle)
        self._data, self._handles = b"", []


def _as_it_is(_request: int, body: bytes) -> bytes:
    return body
