# SPDX-License-Identifier: Apache-2.0
"""Small files that hold one thing each, the kernel's among them."""

from __future__ import annotations


def uptime() -> float:
    """Seconds since the guest's kernel started."""
    return float(read("/proc/uptime").split()[0])


def read(path: str) -> str:
    """A whole file of the kernel's."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def write(path: str, text: str) -> None:
    """Write a whole small file."""
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def number(path: str) -> int:
    """The number that a file holds; 0 if it holds none or is not there."""
    try:
        return int(read(path))
    except (OSError, ValueError):
        return 0
