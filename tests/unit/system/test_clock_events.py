# SPDX-License-Identifier: Apache-2.0
"""Events of the wall clock: really on Linux, where the tests may set the clock; on macOS by stand-ins."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from typing import Any

import pytest

from cove.system.clock_events import _linux, _mac, on_clock_jump


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is a part of Linux")
async def test_a_clock_that_is_set_is_told_and_nothing_else() -> None:
    happened = asyncio.Event()
    with on_clock_jump(happened.set, every=60):
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(happened.wait(), 0.05)
            try:  # to what it is already: some microseconds are lost
                time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))
            except PermissionError:
                pytest.skip("only root may set the clock")
            await asyncio.wait_for(happened.wait(), 10)
            happened.clear()


def test_a_kernel_without_such_timers() -> None:
    class Libc:
        def timerfd_create(self, _clock: int, _flags: int) -> int:
            ctypes.set_errno(38)
            return -1

    with pytest.raises(OSError, match="timerfd_create failed"), _linux(lambda: None, Libc()):
        pass


class Notify:
    """notify(3) of macOS: a descriptor from which a token of four bytes comes with each notice."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.ours = self.theirs = -1
        self.names: list[bytes] = []
        self.cancelled: list[int] = []

    def notify_register_file_descriptor(self, name: bytes, handle: Any, flags: int, token: Any) -> int:
        assert flags == 0
        self.names.append(name)
        if self.status == 0:
            self.theirs, self.ours = os.pipe()
            handle._obj.value, token._obj.value = self.theirs, 7
        return self.status

    def notify_cancel(self, token: Any) -> int:
        self.cancelled.append(token.value)
        os.close(self.theirs)
        return 0

    def post(self) -> None:
        os.write(self.ours, b"\0\0\0\7")


class Kqueues:
    """The part of Python's module select that macOS has more, with a pipe for a queue."""

    KQ_FILTER_TIMER, KQ_EV_ADD = -7, 1

    def __init__(self) -> None:
        self.timers: list[dict[str, int]] = []
        self.reading, self.writing = -1, -1

    def kevent(self, ident: int, **fields: int) -> dict[str, int]:
        return {"ident": ident, **fields}

    def kqueue(self) -> Kqueues:
        self.reading, self.writing = os.pipe()
        return self

    def control(self, changes: list[dict[str, int]] | None, wanted: int, timeout: float) -> list[bytes]:
        assert timeout == 0  # it never waits
        self.timers += changes or []
        return [os.read(self.reading, 1)] if wanted else []

    def fileno(self) -> int:
        return self.reading

    def close(self) -> None:
        os.close(self.reading)
        self.reading = -1

    def fire(self) -> None:
        os.write(self.writing, b"!")


async def test_a_mac_tells_of_a_clock_that_is_set_and_of_long_sleep() -> None:
    happened: asyncio.Queue[None] = asyncio.Queue()
    notify, kqueues = Notify(), Kqueues()
    with _mac(lambda: happened.put_nowait(None), 60, notify, kqueues):
        assert notify.names == [b"com.apple.system.clock_set"]
        # sys/event.h: seconds, of the clock that goes on while the Mac sleeps
        assert kqueues.timers == [{"ident": 1, "filter": -7, "flags": 1, "fflags": 0x81, "data": 60}]
        for cause in (notify.post, kqueues.fire, notify.post):
            cause()
            await asyncio.wait_for(happened.get(), 10)
            assert happened.empty()
    assert notify.cancelled == [7]
    assert kqueues.reading == -1
    os.close(notify.ours)
    os.close(kqueues.writing)


async def test_a_mac_that_gives_no_notices_still_wakes() -> None:
    happened: asyncio.Queue[None] = asyncio.Queue()
    kqueues = Kqueues()
    with _mac(lambda: happened.put_nowait(None), 60, Notify(status=1), kqueues):
        kqueues.fire()
        await asyncio.wait_for(happened.get(), 10)
    os.close(kqueues.writing)
