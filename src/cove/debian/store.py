# SPDX-License-Identifier: Apache-2.0
"""The cache of the archive: files named by the digest that was signed for, and how one comes to be.

debs/NAME.SHA256.deb          packages, verified before they get their name and again before each use
lists/SHA256.table            package indexes in their quick form, by the digest of the signed Packages.xz
lists/SUITE.InRelease         the last good one, verified again at each use; beside it SUITE.json: where
                              it came from, when it was last asked for, the server's validators
.SHA256.part                  beside its target: a download that was cut off, to be taken up again
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from cove.debian.lock import LockedPackage
from cove.errors import IntegrityError
from cove.system.files import try_lock

_CHUNK = 1 << 20


class Store:
    """The register of the cache's files. Nothing is created here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def deb(self, package: LockedPackage) -> Path:
        """The place of a package; its name keeps the .deb readable in messages."""
        stem = Path(package.filename).name.removesuffix(".deb")
        return self.root / "debs" / f"{stem}.{package.sha256}.deb"

    def table(self, sha256: str) -> Path:
        """The place of the quick form of the index whose Packages.xz has that digest."""
        return self.root / "lists" / f"{sha256}.table"

    def packed_index(self, sha256: str) -> Path:
        """The place of Packages.xz itself, for as long as it takes to read it."""
        return self.root / "lists" / f"{sha256}.xz"

    def release(self, suite: str) -> Path:
        """The place of the last good InRelease of a suite."""
        return self.root / "lists" / f"{suite}.InRelease"

    def release_facts(self, suite: str) -> Path:
        """The place of what is known about that InRelease (JSON)."""
        return self.root / "lists" / f"{suite}.json"


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Part:
    """A file that is being downloaded. Use it as a context manager; leaving it keeps what was loaded.

    The part is locked: a second process that wants the same file at the same time loads a private copy, and
    both end with the same verified file.

    Args:
        name: for messages.
        target: where it goes once it is right.
        sha256: what it must hash to.
        expected: bytes it must have.
        progress: told by how many bytes what is there grew or shrank.
    """

    def __init__(
        self, *, name: str, target: Path, sha256: str, expected: int, progress: Callable[[int], None]
    ) -> None:
        self.name = name
        self.target = target
        self.sha256 = sha256
        self.expected = expected
        self.size = 0
        self._progress = progress
        self._hash = hashlib.sha256()
        self._handle = -1
        self._path = target.with_name(f".{sha256}.part")

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
                self._path = self._path.with_name(f".{self.sha256}.{os.getpid()}.part")
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
            raise IntegrityError(
                self.name, expected=f"{self.expected} bytes (sha256 {self.sha256})", found="more bytes"
            )
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._handle, view) :]
        self._count(chunk)

    def restart(self) -> None:
        """Throw away what was loaded."""
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._progress(-self.size)
        self._hash = hashlib.sha256()
        self.size = 0

    def finish(self) -> None:
        """Give the file its final name.

        Raises:
            IntegrityError: it is not what was signed for; it is thrown away.
        """
        found = self._hash.hexdigest()
        if found != self.sha256:
            size = self.size
            self.restart()
            raise IntegrityError(
                self.name,
                expected=f"sha256 {self.sha256} ({self.expected} bytes)",
                found=f"sha256 {found} ({size} bytes)",
            )
        os.fchmod(self._handle, 0o644)
        os.fsync(self._handle)
        self._path.rename(self.target)
        os.close(self._handle)
        self._handle = -1
