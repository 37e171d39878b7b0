# SPDX-License-Identifier: Apache-2.0
"""Go on in a second process, with all that this one has loaded: fork(2) without exec, for commands on Linux."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from cove.system.files import storage_errors


def can_branch() -> bool:
    """Whether :func:`branch` may be used: on Linux, by a process with a single thread.

    A fork of several threads leaves their locks locked for ever; macOS's own libraries do not survive any.
    """
    try:
        return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False


def branch(work: Callable[[], None], *, log: Path, keep: Sequence[int] = ()) -> int:
    """Fork a process that survives us and our terminal, as :func:`detach` does, with all that we have loaded.

    That spares it the start of an interpreter. It has none of our descriptors but those it is to keep, and Python's
    own handling of signals.

    Args:
        work: what it does; its end is the process's.
        log: where its output goes.
        keep: descriptors that it gets.

    Returns:
        its pid. It is our child until we end; nobody waits for it.

    Raises:
        StorageError: the log cannot be created.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with storage_errors("creating a log"):
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        pid = os.fork()
        if pid == 0:
            _live_apart(work, handle, keep)
        return pid
    finally:
        os.close(handle)


def _live_apart(work: Callable[[], None], log: int, keep: Sequence[int]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        before = 3
        for descriptor in (*sorted(keep), os.sysconf("SC_OPEN_MAX")):
            os.closerange(before, descriptor)
            before = descriptor + 1
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  (what an interpreter does with what nobody catches)
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)  # nothing of our parent's is ended, removed or written a second time
