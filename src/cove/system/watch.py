# SPDX-License-Identifier: Apache-2.0
"""Which files below some folders change: inotify(7), which watches single folders, made to follow whole trees.

Linux only. Reading what happened never blocks; following new trees does, so both may be called from other threads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

FOLDERS = 16_384
"""Folders that are watched at most; what lies in others is not noticed. Hosts allow at least 8192 per user."""

SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", ".cove"})
"""Names of folders that are not looked into: thousands of files that nobody edits."""

_MODIFY, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 2, 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IGNORED, _IS_FOLDER = 0x4000, 0x8000, 0x4000_0000
_DONT_FOLLOW, _EXCLUDE_UNLINKED = 0x0200_0000, 0x0400_0000
_MASK = _MODIFY | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DONT_FOLLOW | _EXCLUDE_UNLINKED
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 16


class TreeWatch:
    """Follows the trees that :meth:`follow` names.

    Raises:
        OSError: the host allows no more of these.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle: int = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._handle < 0:
            raise OSError(ctypes.get_errno(), "inotify cannot be used")
        self._paths: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self.full = False
        """Whether there were more folders than can be watched."""

    def fileno(self) -> int:
        """Becomes readable when something happened."""
        return self._handle

    def close(self) -> None:
        """Watch nothing any more."""
        with self._lock:
            os.close(self._handle)
            self._paths.clear()
            self._numbers.clear()

    def follow(self, roots: Iterable[Path]) -> None:
        """Watch these trees, or single files, and no others. What is not there is left out."""
        wanted: dict[str, None] = {}
        for root in roots:
            wanted |= dict.fromkeys(_folders(str(root)))
        with self._lock:
            for path in [path for path in self._numbers if path not in wanted]:
                self._drop(path)
            self.full = False
            for path in wanted:
                if path not in self._numbers:
                    self._add(path)

    def changed(self) -> dict[str, bool]:
        """What changed since the last call: paths, and whether there is still something there.

        Of what was deleted or moved away the folder is named too: it changed, and can be looked at.
        """
        found: dict[str, bool] = {}
        with self._lock:
            for number, mask, name in self._read():
                if mask & _OVERFLOW:
                    found |= dict.fromkeys(self._numbers, True)
                elif mask & _IGNORED:
                    self._numbers.pop(self._paths.pop(number, ""), None)
                elif (folder := self._paths.get(number)) is not None:
                    self._take(found, os.path.join(folder, name) if name else folder, mask)  # noqa: PTH118
        return found

    def _take(self, found: dict[str, bool], path: str, mask: int) -> None:
        gone = bool(mask & (_DELETE | _MOVED_FROM))
        found.pop(path, None)  # the order is that of the last change
        found[path] = not gone
        if gone:
            found[os.path.dirname(path)] = True  # noqa: PTH120
        if mask & _IS_FOLDER:
            if gone:
                for inner in [inner for inner in self._numbers if f"{inner}/".startswith(f"{path}/")]:
                    self._drop(inner)
            elif Path(path).name not in SKIPPED:
                for inner in _folders(path):
                    self._add(inner)
                    # files that came before we looked
                    found |= {entry.path: True for entry in _entries(inner)}

    def _read(self) -> Iterator[tuple[int, int, str]]:
        while True:
            try:
                data = os.read(self._handle, _BUFFER)
            except BlockingIOError:
                return
            position = 0
            while position < len(data):
                number, mask, _cookie, length = _EVENT.unpack_from(data, position)
                position += _EVENT.size
                name = data[position : position + length].rstrip(b"\0")
                position += length
                yield number, mask, os.fsdecode(name)

    def _add(self, path: str) -> None:
        if len(self._numbers) >= FOLDERS:
            self.full = True
            return
        number = self._libc.inotify_add_watch(self._handle, os.fsencode(path), ctypes.c_uint32(_MASK))
        if number < 0:
            self.full = self.full or ctypes.get_errno() == errno.ENOSPC
            return  # it is gone, or not ours to see
        former = self._paths.get(number)
        if former is not None:  # the same folder under a new name
            self._numbers.pop(former, None)
        self._paths[number] = path
        self._numbers[path] = number

    def _drop(self, path: str) -> None:
        number = self._numbers.pop(path)
        self._paths.pop(number, None)
        self._libc.inotify_rm_watch(self._handle, number)


def _folders(root: str) -> Iterator[str]:
    """The folder and those in it, outermost first and without symlinks; or the file, if it is one."""
    level = [root]
    seen = 0
    while level and seen <= FOLDERS:
        deeper: list[str] = []
        for path in level:
            seen += 1
            yield path
            deeper += [
                entry.path
                for entry in _entries(path)
                if entry.name not in SKIPPED and entry.is_dir(follow_symlinks=False)
            ]
        level = deeper


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:
        return []
