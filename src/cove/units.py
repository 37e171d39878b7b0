# SPDX-License-Identifier: Apache-2.0
"""Sizes and durations: parse and print, nothing else."""

from __future__ import annotations

import re

from cove.errors import UsageError

KIB = 1024
MIB = 1024**2
GIB = 1024**3

_TOO_MUCH = 2**63
"""Bytes; sizes of files are signed 64-bit numbers."""

_FACTORS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": 1024**4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:ib|b)?", re.IGNORECASE)


def parse_size(text: str, *, default_unit: str = "") -> int:
    """Read a size such as ``2G``, ``512MiB`` or ``1.5g`` as bytes; units are powers of 1024, as in docker.

    Args:
        text: the size.
        default_unit: the unit of a bare number: "", "k", "m", "g" or "t".

    Raises:
        UsageError: the text is not a size, is zero, or is more than a file can have.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a size", hint="Write it as 512M, 2G or 1.5G.")
    size = float(match[1]) * _FACTORS[(match[2] or default_unit).lower()]
    if size < 1:
        raise UsageError(f"{text!r} is not a size above zero", hint="Write it as 512M, 2G or 1.5G.")
    if size >= _TOO_MUCH:
        raise UsageError(f"{text!r} is more than a file can have", hint="Write it as 512M, 2G or 1.5G.")
    return int(size)


def format_size(size: float) -> str:
    """Print bytes for people: 999 B, 1.5 MiB, 12 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """Print a duration for people: 0.26 s, 12.3 s, 4 min 05 s, 3 h 20 min."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
