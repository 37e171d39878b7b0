# SPDX-License-Identifier: Apache-2.0
"""Events of the host's wall clock: it was set, or went on while the host slept. Nothing here looks now and then.

Linux: a timer on the wall clock that never expires and is cancelled when that clock jumps, as it does when it is set
and when the host wakes (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET; Linux 3.0).
macOS: the notice that the clock was set (notify(3), ``com.apple.system.clock_set``), and a kqueue timer that goes on
while the Mac sleeps (kqueue(2), NOTE_MACH_CONTINUOUS_TIME; macOS 10.13): it fires as soon as the Mac wakes, if the
sleep was as long as the timer.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_LINUX_REALTIME = 0
_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_ABSTIME_CANCEL_ON_SET = 1 | 2
_NEVER = 1 << 62
"""Seconds since the epoch; the kernel takes it for the end of time."""

_CLOCK_SET = b"com.apple.system.clock_set"
_NOTE_SECONDS, _NOTE_MACH_CONTINUOUS_TIME = 0x1, 0x80
"""sys/event.h of macOS; Python has no names for them."""

_NOTICE = 4096


_TimerSpec = ctypes.c_long * 4
"""struct itimerspec: seconds and nanoseconds of the interval, then of the moment."""


@contextmanager
def on_clock_jump(then: Callable[[], None], *, every: int) -> Iterator[None]:
    """Call ``then`` in the running event loop whenever the wall clock may have jumped.

    Args:
        then: called without arguments; sometimes without need.
        every: seconds after which a Mac that slept for so long calls at the latest.

    Raises:
        OSError: the system has no such events, or allows no more of them.
    """
    source = _mac(then, every, _libc(), select) if sys.platform == "darwin" else _linux(then, _libc())
    with source:
        yield


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


@contextmanager
def _linux(then: Callable[[], None], libc: Any) -> Iterator[None]:
    handle = _checked(libc.timerfd_create(_LINUX_REALTIME, _TFD_FLAGS), "timerfd_create")
    never = _TimerSpec(0, 0, _NEVER, 0)

    def arm() -> None:
        # says ECANCELED, and arms all the same, if the clock jumped just before
        libc.timerfd_settime(handle, _TFD_ABSTIME_CANCEL_ON_SET, ctypes.byref(never), None)

    def jumped() -> None:
        try:
            os.read(handle, 8)
        except BlockingIOError:
            return
        except OSError:  # ECANCELED, which is the event
            pass
        arm()
        then()

    with ExitStack() as stack:
        stack.callback(os.close, handle)
        arm()
        _watch(stack, handle, jumped)
        yield


@contextmanager
def _mac(then: Callable[[], None], every: int, libc: Any, kqueues: Any) -> Iterator[None]:
    handle, token = ctypes.c_int(-1), ctypes.c_int(-1)
    status = libc.notify_register_file_descriptor(_CLOCK_SET, ctypes.byref(handle), 0, ctypes.byref(token))

    def noticed() -> None:
        if _drained(handle.value):
            then()

    def expired() -> None:
        if queue.control(None, 1, 0):
            then()

    with ExitStack() as stack:
        if status == 0:
            stack.callback(libc.notify_cancel, token)  # closes the descriptor, too
            os.set_blocking(handle.value, False)
            _watch(stack, handle.value, noticed)
        queue = stack.enter_context(_closing(kqueues.kqueue()))
        timer = kqueues.kevent(
            1,
            filter=kqueues.KQ_FILTER_TIMER,
            flags=kqueues.KQ_EV_ADD,
            fflags=_NOTE_SECONDS | _NOTE_MACH_CONTINUOUS_TIME,
            data=every,
        )
        queue.control([timer], 0, 0)
        _watch(stack, queue.fileno(), expired)
        yield


@contextmanager
def _closing(queue: Any) -> Iterator[Any]:
    try:
        yield queue
    finally:
        queue.close()


def _watch(stack: ExitStack, handle: int, happened: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, happened)
    stack.callback(loop.remove_reader, handle)


def _drained(handle: int) -> bool:
    try:
        return bool(os.read(handle, _NOTICE))
    except BlockingIOError:
        return False


def _checked(handle: int, call: str) -> int:
    if handle < 0:
        raise OSError(ctypes.get_errno(), f"{call} failed")
    return handle
