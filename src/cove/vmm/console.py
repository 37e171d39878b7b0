# SPDX-License-Identifier: Apache-2.0
"""The guest's console: read as fast as it comes, kept in a bounded log, handed on line by line.

A guest writes to its console synchronously: were the pipe ever full, its kernel would stop. So reading never
waits for anything, and a log that cannot be written is given up instead of waited for.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

from cove.system.files import storage_errors
from cove.units import KIB, MIB

LOG_LIMIT = 8 * MIB
"""Bytes of the log, after which it becomes ``NAME.1`` and a new one begins: two of them at most."""

LINE_LIMIT = 8 * KIB
"""Bytes after which a line is handed on though it has not ended."""

TAIL_LINES = 20
"""Lines that are remembered for the reason of an exit."""


class ConsoleLog:
    """A log file of bounded size, readable by its owner only; it replaces that of the run before.

    Args:
        path: the file; ``path`` with ".1" appended holds what came before it.
        limit: bytes of each of the two.

    Raises:
        StorageError: it cannot be created.
    """

    def __init__(self, path: Path, *, limit: int = LOG_LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._older = path.with_name(path.name + ".1")
        self._older.unlink(missing_ok=True)
        with storage_errors("creating the console's log"):
            self._handle: int | None = self._create()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append ``data``; when that fails (the disk is full) the log ends here, without an error."""
        if self._handle is None:
            return
        try:
            if self._size + len(data) > self._limit:
                self._rotate()
            os.write(self._handle, data)
            self._size += len(data)
        except OSError:
            # the guest must go on, and there is nobody to tell who could do something about it here
            self.close()

    def close(self) -> None:
        """Close the file; what is written afterwards is dropped."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _create(self) -> int:
        self._path.unlink(missing_ok=True)
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _rotate(self) -> None:
        self._path.replace(self._older)
        self.close()
        self._handle = self._create()
        self._size = 0


class Lines:
    """Cuts a stream of bytes into lines of text; an unfinished line waits for its end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes, without their ends; what is too long is cut."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [part for line in whole for part in _cut(line)]
        if len(self._rest) >= LINE_LIMIT:
            *parts, self._rest = _cut(self._rest)
            lines += parts
        return [_text(line) for line in lines]

    def end(self) -> list[str]:
        """The unfinished line, if there is one."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


class Console:
    """Reads a VMM's output to its end.

    Args:
        log: where all of it is kept.
        on_line: called with every line; it must neither block nor raise.
    """

    def __init__(self, log: ConsoleLog, on_line: Callable[[str], None]) -> None:
        self._log = log
        self._on_line = on_line
        self._lines = Lines()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._panic: str | None = None

    async def pump(self, stream: asyncio.StreamReader) -> None:
        """Read until the stream ends, then close the log."""
        try:
            while data := await stream.read(64 * KIB):
                self._log.write(data)
                self._hand_on(self._lines.feed(data))
            self._hand_on(self._lines.end())
        finally:
            self._log.close()

    def write(self, text: str) -> None:
        """Take a line that does not come from a stream (the fake driver's)."""
        self._log.write(text.encode() + b"\n")
        self._hand_on([text])

    def last_words(self) -> list[str]:
        """The line of the kernel's panic, if there was one, and the last lines that are not empty."""
        return [*([self._panic] if self._panic else []), *self._tail]

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _hand_on(self, lines: list[str]) -> None:
        for line in lines:
            if line.strip():
                self._tail.append(line)
            # a panic's trace is longer than the tail
            if self._panic is None and "Kernel panic" in line:
                self._panic = line
            self._on_line(line)


def _cut(line: bytes) -> list[bytes]:
    return [line[at : at + LINE_LIMIT] for at in range(0, len(line), LINE_LIMIT)] or [b""]


def _text(line: bytes) -> str:
    # a serial line ends in \r\n, and a progress line overwrites itself after \r
    return line.decode(errors="replace").rstrip("\r")
