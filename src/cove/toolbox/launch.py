# SPDX-License-Identifier: Apache-2.0
"""How a program from a foreign prefix is started. Pure, but for reading the head of one ELF file.

A dynamic program of Debian's wants Debian's loader and libraries, which the host may not have (musl, Nix, an
older glibc). It is started as an argument of the prefix's own loader, which takes the library path as an
argument too: so nothing of it is inherited by the programs that it starts, as LD_LIBRARY_PATH would be.
"""

from __future__ import annotations

import shlex
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cove.errors import ToolError, UnsupportedError

Form = Literal["loader", "plain", "patched"]
"""Through the prefix's loader; as it is (static programs, scripts); a copy that names the prefix's loader."""

_PT_INTERP = 3
_TRIPLETS = {
    "amd64": ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "arm64": ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}


def library_folder(root: Path, architecture: str) -> Path:
    """The folder of libraries in the prefix ``root``; the loader is in it.

    Args:
        root: the prefix.
        architecture: Debian's name of the architecture.

    Raises:
        UnsupportedError: there are no programs for this architecture.
    """
    return root / "usr/lib" / _triplet(architecture)[0]


def loader(root: Path, architecture: str) -> Path:
    """The dynamic loader of the prefix ``root``; raises as :func:`library_folder` does."""
    return library_folder(root, architecture) / _triplet(architecture)[1]


def argv(program: Path, *, name: str, root: Path, architecture: str, form: Form) -> tuple[str, ...]:
    """The beginning of a command line that starts ``program``, a file in the prefix ``root``, as ``name``."""
    if form != "loader":
        return (str(program),)
    # the host's ld.so.cache knows the host's libraries, which belong to another libc
    return (
        str(loader(root, architecture)), "--inhibit-cache",
        "--library-path", str(library_folder(root, architecture)),
        "--argv0", name, str(program),
    )  # fmt: skip


def script(command: Sequence[str], env: dict[str, str]) -> str:
    """A POSIX shell script that becomes ``command`` with the script's own arguments."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(env.items()))
    return f'#!/bin/sh\n{exports}exec {shlex.join(command)} "$@"\n'


def interpreter(path: Path) -> str | None:
    """The loader that an ELF program names (its PT_INTERP), or None for a static program or a script.

    The layout is that of elf(5): 64-bit, little-endian; other programs cannot be run here anyway.

    Raises:
        ToolError: it is an ELF file of another kind, or cut off.
    """
    with path.open("rb") as file:
        head = file.read(64)
        if head[:4] != b"\x7fELF":
            return None
        if len(head) < 64 or head[4:6] != b"\x02\x01":
            raise ToolError(f"{path} is not a 64-bit little-endian program")
        offset, size, count = (*struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54))
        file.seek(offset)
        table = file.read(size * count)
        if size < 56 or len(table) < size * count:
            raise ToolError(f"{path} is cut off or damaged")
        for start in range(0, size * count, size):
            kind, where, length = (
                struct.unpack_from("<I", table, start)[0],
                struct.unpack_from("<Q", table, start + 8)[0],
                struct.unpack_from("<Q", table, start + 32)[0],
            )
            if kind == _PT_INTERP:
                file.seek(where)
                return file.read(min(length, 4096)).rstrip(b"\0").decode(errors="replace")
    return None


def _triplet(architecture: str) -> tuple[str, str]:
    try:
        return _TRIPLETS[architecture]
    except KeyError:
        raise UnsupportedError(f"the toolbox has no programs for {architecture}") from None
