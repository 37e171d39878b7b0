# SPDX-License-Identifier: Apache-2.0
"""A file that is being downloaded: resumable, checked against its digest, safe between processes.

.DIGEST.part    beside its target: a download that was cut off, to be taken up again
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from cove.errors import IntegrityError
from cove.system.files import try_lock

_CHUNK = 1 << 20


class Part:
    """A file that is being downloaded. Use it as a context manager; leaving it keeps what was loaded.

    The part is locked: a second process that wants the same file at the same time loads a private copy, and
    both end with the same verified file.

    Args:
        name: for messages.
        target: where it goes once it is right.
        digest: what it must hash to: hexadecimal SHA-256, or another with its name as in "sha512:...".
        expected: bytes it must have.
        progress: told by how many bytes what is there grew or shrank.
        altered: the first words of the error if it turns out wrong.
    """

    def __init__(
        self,
        *,
        name: str,
        target: Path,
        digest: str,
        expected: int,
        progress: Callable[[int], None],
        altered: str | None = None,
    ) -> None:
        self.name = name
        self.target = target
        self.digest = digest
        self.expected = expected
        self.size = 0
        self._algorithm, _, self._wanted = digest.rpartition(":")
        self._algorithm = self._algorithm or "sha256"
        self._progress = progress
        self._altered = altered
        self._hash = hashlib.new(self._algorithm)
        self._handle = -1
        self._path = target.with_name(f".{self._wanted}.part")

    def __enter__(self) -> Self:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._handle = self._claim()
        while chunk := os.read(self._handle, _CHUNK):
            self._count(chunk)
        return self

    def _claim(self) -> int:
        while True:
            handle = try_lock(self._path)
            if handle is None:
                self._path = self._path.with_name(
                    f".{self._wanted}.{os.getpid()}.{threading.get_native_id()}.part"
                )
                continue
            # the file may have become the target, or gone, between opening and locking
            try:
                if os.path.samestat(os.fstat(handle), self._path.stat()):
                    return handle
            except FileNotFoundError:
                pass
            os.close(handle)

    def __exit__(self, *_error: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            self._progress(-self.size)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)
        self._progress(len(chunk))

    def write(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            IntegrityError: there are more than there should be; what was loaded is thrown away.
        """
        if self.size + len(chunk) > self.expected:
            self.restart()
            raise self._wrong(f"{self.expected} bytes ({self._algorithm} {self._wanted})", "more bytes")
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._handle, view) :]
        self._count(chunk)

    def restart(self) -> None:
        """Throw away what was loaded."""
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._progress(-self.size)
        self._hash = hashlib.new(self._algorithm)
        self.size = 0

    def finish(self) -> None:
        """Give the file its final name.

        Raises:
            IntegrityError: it is not what was signed for; it is thrown away.
        """
        found = self._hash.hexdigest()
        if found != self._wanted:
            size = self.size
            self.restart()
            raise self._wrong(
                f"{self._algorithm} {self._wanted} ({self.expected} bytes)",
                f"{self._algorithm} {found} ({size} bytes)",
            )
        os.fchmod(self._handle, 0o644)
        os.fsync(self._handle)
        self._path.rename(self.target)
        os.close(self._handle)
        self._handle = -1

    def _wrong(self, expected: str, found: str) -> IntegrityError:
        return IntegrityError(self.name, expected=expected, found=found, message=self._altered)
