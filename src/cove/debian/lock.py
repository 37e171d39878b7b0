# SPDX-License-Identifier: Apache-2.0
"""The lock: exactly which packages something was made of. It lies as JSON beside every image and toolbox."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cove.errors import UsageError

FORMAT = 1
"""The number a lock's JSON begins with; readers refuse any other."""


@dataclass(frozen=True, kw_only=True)
class LockedPackage:
    """One package at one version.

    Args:
        name: the binary package.
        version: its Debian version.
        architecture: Debian's name of the architecture ("amd64", "arm64"), or "all".
        sha256: digest of the .deb, as the signed index has it.
        size: bytes of the .deb.
        filename: its path below the archive's root ("pool/main/...").
        suite: where it was found: "trixie", "trixie-updates" or "trixie-security".
        source: source package and its version, "glibc 2.41-12"; where the licence says sources are found.
    """

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    filename: str
    suite: str
    source: str


@dataclass(frozen=True)
class Lock:
    """A set of packages, sorted by name; each name once."""

    packages: tuple[LockedPackage, ...]

    def __post_init__(self) -> None:
        names = [package.name for package in self.packages]
        if names != sorted(set(names)):
            raise ValueError("a lock's packages must be sorted by name, each name once")

    @classmethod
    def of(cls, packages: Iterable[LockedPackage]) -> Lock:
        """A lock of packages in any order."""
        return cls(tuple(sorted(packages, key=lambda package: package.name)))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over what decides the contents: names, architectures, versions and digests.

        Not over suite and file name: the same .deb that moves from security to a point release is the same.
        """
        lines = (f"{p.name} {p.architecture} {p.version} {p.sha256}\n" for p in self.packages)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all .debs together."""
        return sum(package.size for package in self.packages)

    def get(self, name: str) -> LockedPackage | None:
        """The package of that name, if it is in the lock."""
        return next((package for package in self.packages if package.name == name), None)

    def to_json(self) -> str:
        """The lock as JSON, the same text for the same lock: sorted keys, two spaces, a final newline."""
        value = {"format": FORMAT, "packages": [asdict(package) for package in self.packages]}
        return json.dumps(value, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Lock:
        """Read what :meth:`to_json` wrote.

        Raises:
            UsageError: it is not a lock, or one of a newer format.
        """
        try:
            value = json.loads(text)
            if value["format"] != FORMAT:
                raise UsageError(f"this lock has format {value['format']}; this version reads {FORMAT}")
            return cls.of(_package(entry) for entry in value["packages"])
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError("this is not a package lock", details=repr(error)) from error


def _package(entry: Mapping[str, Any]) -> LockedPackage:
    values: dict[str, Any] = {}
    for field in fields(LockedPackage):
        value = entry[field.name]
        wanted = int if field.name == "size" else str
        if not isinstance(value, wanted):
            raise TypeError(f"{field.name} must be {wanted.__name__}")
        values[field.name] = value
    return LockedPackage(**values)
