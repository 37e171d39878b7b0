# SPDX-License-Identifier: Apache-2.0
"""Threads that are used again: starting one costs more than most connections need of it.

In User-Mode Linux a new thread's stack and heap are some ten page faults of 50 µs and as many system calls; an idle
one only has to be woken. Idle ones beyond a few end.
"""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = 16
"""Threads that may wait for work."""

_guard = _thread.allocate_lock()
_idle: list[_Worker] = []


class _Worker:
    """One thread, and what it is to do next."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.woken = _thread.allocate_lock()
        self.woken.acquire()

    def run(self) -> None:
        while True:
            try:
                self.work()
            finally:
                # what it worked on is not to live as long as its rest
                del self.work
            with _guard:
                if len(_idle) >= IDLE:
                    return
                _idle.append(self)
            self.woken.acquire()


def start(work: Callable[[], None]) -> None:
    """Do ``work`` in a thread, as ``_thread.start_new_thread`` would; an exception ends that thread.

    Raises:
        RuntimeError: there are no more threads.
    """
    with _guard:
        worker = _idle.pop() if _idle else None
    if worker is None:
        _thread.start_new_thread(_Worker(work).run, ())
    else:
        worker.work = work
        worker.woken.release()
