# SPDX-License-Identifier: Apache-2.0
"""The device that gives free pages back, spoken to as Linux 6.12's driver speaks to it."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from cove.vmm.free_pages import FEATURES, FreePages
from cove.vmm.vhost_messages import HEADER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="User-Mode Linux runs there alone")

MIB = 1 << 20
SIZE = 16 * MIB
USER = 0x60000000
RINGS, ENTRIES = 8 * MIB, 256
DESCRIPTORS, AVAILABLE, USED = RINGS, RINGS + 8192, RINGS + 16384
WAIT = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cove-") as name:  # pytest's own folders are too deep for sockets
        yield Path(name)


class Kernel:
    """The guest's side: its memory, one ring, and what passes over the socket."""

    def __init__(self, path: Path) -> None:
        self.memory = os.memfd_create("memory")
        os.truncate(self.memory, SIZE)
        os.pwrite(self.memory, os.urandom(RINGS) + bytes(32768), 0)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(WAIT)
        self._socket.connect(str(path))
        self.kick, self.call, self._index = os.eventfd(0), os.pipe(), 0
        self._others = os.eventfd(0)

    def close(self) -> None:
        self._socket.close()
        for handle in (self.memory, self.kick, self._others, *self.call):
            os.close(handle)

    def send(self, request: int, body: bytes, *handles: int) -> None:
        socket.send_fds(self._socket, [HEADER.pack(request, 1, len(body)) + body], handles)

    def ask(self, request: int, body: bytes = b"") -> bytes:
        self.send(request, body)
        head = self._socket.recv(HEADER.size, socket.MSG_WAITALL)
        kind, flags, size = HEADER.unpack(head)
        assert (kind, flags) == (request, 5)
        return self._socket.recv(size, socket.MSG_WAITALL)

    def set_up(self) -> None:
        """The messages of virtio_uml's probe and of the balloon's, in their order."""
        self.send(3, b"")
        assert self.ask(1) == struct.pack("<Q", FEATURES)
        assert self.ask(15) == struct.pack("<Q", 1 << 9 | 1 << 5)
        self.send(16, struct.pack("<Q", 1 << 9 | 1 << 5))
        self.send(21, b"", self.call[1])
        assert self.ask(24, struct.pack("<III", 0, 8, 0) + bytes(8)) == struct.pack("<III", 0, 8, 0) + bytes(
            8
        )
        self.send(
            5, struct.pack("<II", 1, 0) + struct.pack("<QQQQ", 0, SIZE, USER, 0) + bytes(32), self.memory
        )
        for ring in range(3):
            self.send(13, struct.pack("<Q", ring), self.call[1])
            self.send(8, struct.pack("<II", ring, ENTRIES))
            self.send(10, struct.pack("<II", ring, 0))
            places = (USER + DESCRIPTORS, USER + USED, USER + AVAILABLE, 0)
            self.send(9, struct.pack("<IIQQQQ", ring, 0, *places))
            self.send(12, struct.pack("<Q", ring), self.kick if ring == 2 else self._others)
            self.send(18, struct.pack("<II", ring, 1))

    def report(self, *pages: tuple[int, int]) -> None:
        """Put one request into the ring, and tell."""
        for number, (address, size) in enumerate(pages):
            flags = 2 | (number + 1 < len(pages))
            os.pwrite(
                self.memory, struct.pack("<QIHH", address, size, flags, number + 1), DESCRIPTORS + 16 * number
            )
        os.pwrite(self.memory, struct.pack("<H", 0), AVAILABLE + 4 + 2 * (self._index % ENTRIES))
        self._index += 1
        os.pwrite(self.memory, struct.pack("<H", self._index & 0xFFFF), AVAILABLE + 2)
        os.eventfd_write(self.kick, 1)

    def answered(self) -> int:
        """Wait for the interrupt; how many requests are done."""
        assert os.read(self.call[0], 8) == struct.pack("<Q", 1)
        return int.from_bytes(os.pread(self.memory, 2, USED + 2), "little")

    def left(self) -> bool:
        """Wait until the device hangs up."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:  # in the midst of what we said
            return True

    def taken(self) -> int:
        return os.fstat(self.memory).st_blocks * 512


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def talk(folder: Path, work: Callable[[Kernel, FreePages], Awaitable[None]]) -> None:
    async def run() -> None:
        before = descriptors()
        device = FreePages(folder / "balloon")
        device.start()
        kernel = await asyncio.to_thread(Kernel, folder / "balloon")
        try:
            await work(kernel, device)
        finally:
            kernel.close()
            device.stop()
        assert not (folder / "balloon").exists()
        assert descriptors() == before

    asyncio.run(asyncio.wait_for(run(), 2 * WAIT))


def test_reported_pages_leave_the_file_and_others_stay(folder: Path) -> None:
    async def work(kernel: Kernel, device: FreePages) -> None:
        await asyncio.to_thread(kernel.set_up)
        full, kept = kernel.taken(), os.pread(kernel.memory, MIB, MIB)
        for count in range(1, 600):  # the ring turns over
            kernel.report((0, MIB), (4 * MIB, 2 * MIB))
            assert await asyncio.to_thread(kernel.answered) == count
        assert kernel.taken() == full - 3 * MIB
        assert device.returned == 599 * 3 * MIB
        assert os.pread(kernel.memory, MIB, 0) == bytes(MIB)
        assert os.pread(kernel.memory, MIB, MIB) == kept
        assert os.fstat(kernel.memory).st_size == SIZE

    talk(folder, work)


@pytest.mark.parametrize(
    "pages", [(SIZE, 4096), (SIZE - 4096, 8192), (1, 4096), (0, 4095), (1 << 63, 4096)], ids=str
)
def test_pages_that_are_none_end_the_device_alone(
    folder: Path, pages: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    async def work(kernel: Kernel, device: FreePages) -> None:
        await asyncio.to_thread(kernel.set_up)
        full = kernel.taken()
        kernel.report(pages)
        assert await asyncio.to_thread(kernel.left)
        assert kernel.taken() == full
        assert device.returned == 0

    talk(folder, work)
    assert "free memory is given back no more" in caplog.text


def test_a_kernel_that_cuts_its_memory_off_ends_the_device_alone(folder: Path) -> None:
    async def work(kernel: Kernel, _device: FreePages) -> None:
        await asyncio.to_thread(kernel.set_up)
        os.truncate(kernel.memory, 0)
        os.eventfd_write(kernel.kick, 1)
        assert await asyncio.to_thread(kernel.left)

    talk(folder, work)


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (5, b""),
        (5, struct.pack("<II", 2, 0) + bytes(64)),
        (8, struct.pack("<II", 0, 1025)),
        (8, struct.pack("<II", 9, 1)),
        (9, b"x"),
        (12, b""),
    ],
)
def test_messages_that_are_none_end_the_device_alone(folder: Path, request_: int, body: bytes) -> None:
    async def work(kernel: Kernel, _device: FreePages) -> None:
        kernel.send(request_, body)
        assert await asyncio.to_thread(kernel.left)

    talk(folder, work)


def test_memory_that_is_no_file_is_refused(folder: Path) -> None:
    async def work(kernel: Kernel, _device: FreePages) -> None:
        table = struct.pack("<II", 1, 0) + struct.pack("<QQQQ", 0, SIZE, USER, 0)
        kernel.send(5, table, kernel.call[0])
        assert await asyncio.to_thread(kernel.left)

    talk(folder, work)
