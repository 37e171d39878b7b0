# SPDX-License-Identifier: Apache-2.0
"""Carry bytes between our terminal and a guest's console.

Reading from a guest never waits for what is typed, and neither waits for the other; a reader of our stdout that is
slow makes the guest slow, as it would with QEMU itself.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from cove.guest.terminal import raw
from cove.machine.boot.console import Keys

_CHUNK = 64 * 1024
_TYPED = 1024
_STDIN, _STDOUT = 0, 1
_DRAIN = 2.0


class Pump:
    """Our terminal and one guest's console.

    Args:
        console: our end of the guest's console, a pseudo-terminal; closed in the end.
        keys: takes out of what is typed on a terminal what is meant for us.
        on_first: called when the guest has said something for the first time.
    """

    def __init__(self, console: int, keys: Keys, on_first: Callable[[], None] | None = None) -> None:
        self._console = console
        self._keys = keys
        self._on_first = on_first
        self._ended = asyncio.Event()
        self._tail: deque[bytes] = deque(maxlen=64)
        self._panic: list[bytes] = []
        self._rest = b""
        os.set_blocking(console, False)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Carry bytes during the block; a terminal is raw meanwhile, and as it was afterwards."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._console, self._read_console)
        typing = asyncio.create_task(self._type(), name="typed to the guest")
        try:
            with raw(enabled=True):
                yield
        finally:
            typing.cancel()
            with suppress(OSError, ValueError):
                loop.remove_reader(_STDIN)
            loop.remove_reader(self._console)
            loop.remove_writer(self._console)
            os.close(self._console)

    async def drain(self) -> None:
        """Wait for the last of the console, once nobody writes to it any more."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _DRAIN)

    def show(self, text: bytes) -> None:
        """Put something on our terminal that is not the guest's."""
        _write_all(_STDOUT, text)

    def last_lines(self) -> list[str]:
        """The lines of a panic, if there was one, and the last lines of the console."""
        lines = [*self._panic, *self._tail, self._rest]
        return [line.decode(errors="replace").rstrip("\r") for line in lines if line.strip()]

    def _read_console(self) -> None:
        try:
            data = os.read(self._console, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # its other end was closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._console)
            self._ended.set()
            return
        if self._on_first is not None:
            self._on_first()
            self._on_first = None
        self._remember(data)
        _write_all(_STDOUT, data)

    def _remember(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-4096:]
        self._tail.extend(line[-4096:] for line in lines)
        if not self._panic:
            self._panic = [line for line in lines if b"Kernel panic" in line][:1]

    async def _type(self) -> None:
        terminal = os.isatty(_STDIN)
        while True:
            with suppress(PermissionError):  # a file, or /dev/null: reading it never waits
                await _readable(_STDIN)
            try:
                data = os.read(_STDIN, _TYPED)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not data:
                return
            await self._write_console(self._keys.feed(data) if terminal else data)

    async def _write_console(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._console, view) :]
            except BlockingIOError:
                await _writable(self._console)
            except OSError:  # the guest has ended
                return


async def _readable(handle: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(handle, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(handle)


async def _writable(handle: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(handle, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(handle)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(handle, view) :]
        except BlockingIOError:  # whoever gave it to us made it so
            select.select([], [handle], [])
