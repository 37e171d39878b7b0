# SPDX-License-Identifier: Apache-2.0
"""All images that Cove has built in, by name: those for any container, and the parts of guests in LinuxKit's layout."""

from __future__ import annotations

from collections.abc import Iterator

from cove.image.containers import GENERAL, PREFIX, Builtin
from cove.image.runtime import runtime_image, runtime_names


def find_builtin(reference: str) -> Builtin | None:
    """The built-in image that ``reference`` names: ``cove.internal/NAME`` with no tag or ``:latest``."""
    if not reference.startswith(PREFIX):
        return None
    name = reference.removeprefix(PREFIX).removesuffix(":latest")
    if name in GENERAL:
        return GENERAL[name]
    return runtime_image(name) if name in runtime_names() else None


def all_builtins() -> Iterator[Builtin]:
    """All of them, sorted by name."""
    for name in sorted([*GENERAL, *runtime_names()]):
        yield GENERAL[name] if name in GENERAL else runtime_image(name)
