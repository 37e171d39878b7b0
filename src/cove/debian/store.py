# SPDX-License-Identifier: Apache-2.0
"""The cache of the archive: files named by the digest that was signed for.

debs/NAME.SHA256.deb          packages, verified before they get their name and again before each use
lists/SHA256.table            package indexes in their quick form, by the digest of the signed Packages.xz
lists/SUITE.InRelease         the last good one, verified again at each use; beside it SUITE.json: where
                              it came from, when it was last asked for, the server's validators
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cove.debian.lock import LockedPackage


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
