# SPDX-License-Identifier: Apache-2.0
"""Our own terminal and signals, lent to a program in the guest and always taken back."""

from __future__ import annotations

import os
import signal
import socket as sockets
import termios
import threading
import time
import tty as terminals
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from cove.guest.protocol import Kind, encode_json
from cove.guest.session import FdSink, FdSource, Session

_STDIN, _STDOUT, _STDERR = 0, 1, 2

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_PASSED_VARIABLES = ("TERM", "COLORTERM", "LANG")


class _HungUpError(Exception):
    """We were told to end while a terminal was lent."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def is_ours() -> bool:
    """Whether our stdin and stdout are a terminal."""
    return os.isatty(_STDIN) and os.isatty(_STDOUT)


def variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a program needs to know of our terminal."""
    return {"TERM": "xterm", **{name: environ[name] for name in _PASSED_VARIABLES if environ.get(name)}}


def size() -> dict[str, object]:
    """Rows and columns of our terminal; 24 by 80 if we have none."""
    for handle in (_STDIN, _STDOUT, _STDERR):
        try:
            columns, rows = os.get_terminal_size(handle)
        except OSError:
            continue
        return {"rows": rows, "cols": columns}
    return {"rows": 24, "cols": 80}


def attach(connection: sockets.socket, opening: bytes, *, tty: bool, start_within: float) -> int:
    """Run the program that ``opening`` asks for with our stdin, stdout and stderr; gives its exit code.

    A broken pipe behind our stdout, or with a terminal a SIGTERM or SIGHUP, ends us as it would end any
    program: 128 + n, and the guest's agent ends what ran there.

    Args:
        connection: a fresh connection to the agent.
        opening: the request frame.
        tty: the program has a terminal.
        start_within: seconds in which the agent has to start it.

    Raises:
        GuestError: the agent refused, or the connection was lost.
        TimeoutError: it was not started in time.
    """
    with raw(enabled=tty), _signals(tty=tty) as wakeup:
        session = Session(
            connection,
            opening,
            source=FdSource(_STDIN),
            out=FdSink(_STDOUT),
            err=FdSink(_STDERR),
            wakeup=wakeup,
            on_wakeup=lambda: _frames(os.read(wakeup, 256), tty=tty),
        )
        try:
            return session.run(start_end=time.monotonic() + start_within)
        except BrokenPipeError:
            return 128 + signal.SIGPIPE
        except _HungUpError as error:
            return 128 + error.number


def _frames(caught: bytes, *, tty: bool) -> bytes:
    """The frames that tell the guest of the signals we caught."""
    frames = b""
    for number in caught:
        if number == signal.SIGWINCH:
            frames += encode_json(Kind.RESIZE, size()) if tty else b""
        elif tty and number in (signal.SIGTERM, signal.SIGHUP):
            raise _HungUpError(number)
        else:
            frames += encode_json(Kind.SIGNAL, {"name": signal.Signals(number).name.removeprefix("SIG")})
    return frames


@contextmanager
def raw(*, enabled: bool) -> Iterator[None]:
    """Our terminal in raw mode during the block: every key is the guest's, Ctrl-C too.

    Args:
        enabled: else, and where our stdin is no terminal, nothing is done.
    """
    if not enabled or not os.isatty(_STDIN):
        yield
        return
    before = termios.tcgetattr(_STDIN)
    terminals.setraw(_STDIN, termios.TCSADRAIN)
    try:
        yield
    finally:
        with suppress(termios.error):  # it was taken away
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


@contextmanager
def _signals(*, tty: bool) -> Iterator[int]:
    """A descriptor that gives the number of each signal we catch during the block (one byte each)."""
    outlet, inlet = os.pipe()
    os.set_blocking(outlet, False)
    os.set_blocking(inlet, False)
    if threading.current_thread() is not threading.main_thread():  # Python handles signals there alone
        try:
            yield outlet
        finally:
            os.close(outlet)
            os.close(inlet)
        return
    caught = (*_PASSED_ON, signal.SIGWINCH) if tty else _PASSED_ON
    before_wakeup = signal.set_wakeup_fd(inlet, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in caught}
    try:
        yield outlet
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_wakeup)
        os.close(outlet)
        os.close(inlet)
