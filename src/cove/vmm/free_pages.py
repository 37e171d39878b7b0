# SPDX-License-Identifier: Apache-2.0
"""Give memory that a User-Mode Linux does not use any more back to the host: a balloon device over vhost-user.

The guest's memory is a file, and what it once wrote stays there. Linux's balloon driver can report pages that have
been free for a while (VIRTIO_BALLOON_F_REPORTING; QEMU's ``free-page-reporting`` is the same). QEMU has the other end
of that in itself, User-Mode Linux can be led to one by a socket: this is it. It cuts what is reported out of the file,
and says that it did; the guest does nothing with such a page before.

The kernel of a guest may be hostile by now. It can have cut what it likes out of the files that its process has open
for writing, which it could without us; nothing else comes of its messages. Reads are pread(2), so a file that becomes
shorter is an error and no fault.

Sources: "Virtual I/O Device (VIRTIO) Version 1.2", 5.5 (balloon), 5.5.6.7 (free page reporting);
drivers/virtio/virtio_balloon.c and arch/um/drivers/virtio_uml.c of Linux.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from cove.system.sparse import punch
from cove.vmm import vhost_messages as messages
from cove.vmm.vhost_messages import HEADER, Region

log = logging.getLogger("cove.memory")

FEATURES = 1 << 32 | 1 << 30 | 1 << 5
"""Version 1 of virtio, vhost-user's own features, and reports of free pages. No page is ever asked for."""

_PROTOCOL = 1 << 9 | 1 << 5
"""Messages about the configuration, and a way for requests to the kernel: it takes its interrupt from there."""

_LARGEST = 1 << 12
_MOST_FDS = 16
_PAGE = 4096


class _Ring:
    """One ring, as far as it was told."""

    def __init__(self) -> None:
        self.entries = 0
        self.next = 0
        self.descriptors = self.used = self.available = 0
        self.kick = self.call = -1


class FreePages:
    """Listens for one kernel and serves it; ends with it.

    Args:
        path: the socket to make; its folder is private.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener: socket.socket | None = None
        self._kernel: socket.socket | None = None
        self._table: list[Region] = []
        self._memory = -1
        self._backwards = -1
        self._rings: dict[int, _Ring] = {}
        self._data = b""
        self._handles: list[int] = []
        self.returned = 0
        """Bytes that were given back so far."""

    def start(self) -> None:
        """Listen; call it inside the event loop that is to do the work."""
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(self._path))
        self._listener.listen(1)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Close everything; not listening is fine."""
        loop = asyncio.get_running_loop()
        for one in (self._listener, self._kernel):
            if one is not None:
                loop.remove_reader(one)
                one.close()
        self._listener = self._kernel = None
        for ring in self._rings.values():
            if ring.kick >= 0:
                loop.remove_reader(ring.kick)
            for handle in (ring.kick, ring.call):
                _close(handle)
        self._rings.clear()
        for handle in (self._memory, self._backwards, *self._handles):
            _close(handle)
        self._memory, self._backwards, self._handles, self._data = -1, -1, [], b""
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101  (it is its reader)
        loop = asyncio.get_running_loop()
        self._kernel, _ = self._listener.accept()
        self._kernel.setblocking(False)
        loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        loop.add_reader(self._kernel, self._guarded, self._read_messages)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do it; whatever is not as agreed ends the device. The guest then keeps its memory, and runs on."""
        try:
            work()
        except BlockingIOError:
            pass
        except (OSError, ValueError) as error:
            log.warning("free memory is given back no more: %s", error)
            self.stop()
        except EOFError:
            self.stop()

    def _read_messages(self) -> None:
        assert self._kernel is not None  # noqa: S101
        data, handles, _, _ = socket.recv_fds(self._kernel, self._missing(), _MOST_FDS)
        self._handles += handles
        if not data:
            raise EOFError
        self._data += data
        if len(self._data) < HEADER.size or self._missing():
            return
        request, _flags, _size = HEADER.unpack_from(self._data)
        body, self._data = self._data[HEADER.size :], b""
        handles, self._handles = self._handles, []
        try:
            reply = self._serve(request, body, handles)
        finally:
            for handle in handles:
                _close(handle)
        if reply is not None:
            self._kernel.sendall(HEADER.pack(request, messages.REPLY_FLAGS, len(reply)) + reply)

    def _missing(self) -> int:
        if len(self._data) < HEADER.size:
            return HEADER.size - len(self._data)
        size: int = HEADER.unpack_from(self._data)[2]
        if size > _LARGEST:
            raise ValueError(f"a message of {size} bytes")
        return HEADER.size + size - len(self._data)

    def _serve(self, request: int, body: bytes, handles: list[int]) -> bytes | None:
        """Do what a message says; returns its reply. A descriptor that is kept is taken out of ``handles``."""
        if request == messages.GET_FEATURES:
            return struct.pack("<Q", FEATURES)
        if request == messages.GET_PROTOCOL_FEATURES:
            return struct.pack("<Q", _PROTOCOL)
        if request == messages.GET_CONFIG:
            return messages.config_reply(body, b"")
        if request == messages.SET_MEM_TABLE:
            self._set_memory(messages.regions(body), handles)
        elif request == messages.SET_VRING_ADDR:
            index, descriptors, used, available = messages.ring_addresses(body)
            ring = self._ring(index)
            ring.descriptors, ring.used, ring.available = descriptors, used, available
        elif request == messages.SET_BACKEND_REQ_FD and handles:
            _close(self._backwards)
            self._backwards = (
                handles.pop()
            )  # nothing is sent there; without its end the kernel would read one
        elif request in (messages.SET_VRING_KICK, messages.SET_VRING_CALL):
            self._set_handle(request, messages.ring_of_handle(body), handles)
        elif request in (messages.SET_VRING_NUM, messages.SET_VRING_BASE, messages.GET_VRING_BASE):
            return self._set_number(request, *messages.ring_state(body))
        return None

    def _ring(self, index: int) -> _Ring:
        return self._rings.setdefault(index, _Ring())

    def _set_memory(self, table: list[Region], handles: list[int]) -> None:
        if len(table) != 1 or len(handles) != 1:
            raise ValueError(f"{len(table)} regions of memory in {len(handles)} files, where one is expected")
        if not stat.S_ISREG(os.fstat(handles[0]).st_mode):
            raise ValueError("the guest's memory is no file")
        _close(self._memory)
        self._table, self._memory = table, handles.pop()

    def _set_number(self, request: int, index: int, number: int) -> bytes | None:
        ring = self._ring(index)
        if request == messages.GET_VRING_BASE:
            return struct.pack("<II", index, ring.next)
        if request == messages.SET_VRING_BASE:
            ring.next = number & 0xFFFF
        elif not 0 < number <= messages.MOST_ENTRIES:
            raise ValueError(f"a ring of {number} entries")
        else:
            ring.entries = number
        return None

    def _set_handle(self, request: int, index: int, handles: list[int]) -> None:
        ring = self._ring(index)
        handle = handles.pop() if handles else -1
        if request == messages.SET_VRING_CALL:
            _close(ring.call)
            ring.call = handle
            return
        loop = asyncio.get_running_loop()
        if ring.kick >= 0:
            loop.remove_reader(ring.kick)
            _close(ring.kick)
        ring.kick = handle
        if handle >= 0:
            os.set_blocking(handle, False)
            loop.add_reader(handle, self._guarded, partial(self._kicked, ring))

    def _kicked(self, ring: _Ring) -> None:
        """The guest has put requests into a ring: those of free pages are the only ones that there are."""
        if not os.read(ring.kick, 8):
            raise EOFError
        count = ring.entries
        available = self._place(ring.available, 4 + 2 * count)
        descriptors = self._place(ring.descriptors, 16 * count)
        used = self._place(ring.used, 4 + 8 * count)
        flags, end = struct.unpack("<HH", self._load(available, 4))
        if (end - ring.next) & 0xFFFF > count:
            raise ValueError("more requests than a ring has entries")
        while ring.next != end:
            (head,) = struct.unpack("<H", self._load(available + 4 + 2 * (ring.next % count), 2))
            for address, size in messages.chain(self._load, descriptors, count, head):
                self._give_back(address, size)
            os.pwrite(self._memory, struct.pack("<II", head, 0), used + 4 + 8 * (ring.next % count))
            ring.next = (ring.next + 1) & 0xFFFF
            os.pwrite(self._memory, struct.pack("<H", ring.next), used + 2)
        if not flags & 1 and ring.call >= 0:
            os.write(ring.call, struct.pack("<Q", 1))

    def _give_back(self, address: int, size: int) -> None:
        if address % _PAGE or size % _PAGE:
            raise ValueError(f"{size} bytes at {address:#x} are no pages")
        punch(self._memory, messages.place(self._table, address, size, user=False), size)
        self.returned += size

    def _place(self, address: int, size: int) -> int:
        return messages.place(self._table, address, size, user=True)

    def _load(self, offset: int, size: int) -> bytes:
        data = os.pread(self._memory, size, offset)
        if len(data) < size:
            raise ValueError("the guest's memory ends before its rings do")
        return data


def _close(handle: int) -> None:
    if handle >= 0:
        with suppress(OSError):
            os.close(handle)
