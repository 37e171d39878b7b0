# SPDX-License-Identifier: Apache-2.0
"""Version numbers as programs print them. Pure."""

from __future__ import annotations

import re

Version = tuple[int, ...]

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def parse_version(text: str) -> Version | None:
    """The first version number in a text ("14.5", "qemu 10.2.2 (Homebrew)"), or None."""
    match = _VERSION.search(text)
    return tuple(int(part) for part in match.groups() if part) if match else None


def dotted(version: Version) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))
