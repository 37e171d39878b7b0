# SPDX-License-Identifier: Apache-2.0
"""Kernel modules: what they say of themselves, what they need, and the lists modprobe reads. Pure.

A module is an ELF relocatable; its section ``.modinfo`` holds ``key=value`` strings (kernel:
include/linux/moduleparam.h, modinfo(8)). The lists are those of depmod(8) in their text form, which busybox's
modprobe reads; kmod's own reads only the binary form, which is not made here.
"""

from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import zstandard

from cove.errors import ArchiveError, NotFoundError

SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
"""How a module's file name ends."""

_MAX_MODULE = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Module:
    """One kernel module.

    Args:
        name: with underscores, as the kernel knows it.
        path: below ``/usr/lib/modules/RELEASE``: "kernel/fs/overlayfs/overlay.ko.xz".
        depends: names of those it uses symbols of.
        aliases: patterns of what it serves.
        pre: names that are to be loaded before it if they exist.
        post: names that are to be loaded after it if they exist.
        softdeps: the text of each ``softdep``, as written.
    """

    name: str
    path: str
    depends: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    softdeps: tuple[str, ...] = ()


def is_module(path: str) -> bool:
    """Whether a file is a kernel module, by its name."""
    return path.endswith(SUFFIXES)


def module_name(path: str) -> str:
    """The kernel's name of a module: the file's, with underscores."""
    return PurePosixPath(path).name.partition(".ko")[0].replace("-", "_")


def unpack_module(data: bytes, path: str) -> bytes:
    """The module itself from the bytes of its file, which may be compressed.

    Raises:
        ArchiveError: they are damaged.
    """
    try:
        if path.endswith(".xz"):
            return lzma.decompress(data)
        if path.endswith(".gz"):
            return gzip.decompress(data)
        if path.endswith(".zst"):
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_MODULE)
    except (lzma.LZMAError, OSError, EOFError, zstandard.ZstdError) as error:
        raise ArchiveError(f"the kernel module {path} is damaged", details=str(error)) from error
    return data


def read_module(elf: bytes, path: str) -> Module:
    """Read what a module says of itself.

    Args:
        elf: the unpacked module.
        path: below ``/usr/lib/modules/RELEASE``.

    Raises:
        ArchiveError: it is not a module.
    """
    info: dict[str, list[str]] = {}
    for item in _section(elf, b".modinfo", path).split(b"\0"):
        key, _, value = item.decode("utf-8", errors="replace").partition("=")
        info.setdefault(key, []).append(value)
    softdeps = info.get("softdep", [])
    return Module(
        name=info.get("name", [module_name(path)])[0].replace("-", "_"),
        path=path,
        depends=tuple(_names(",".join(info.get("depends", [])).split(","))),
        aliases=tuple(info.get("alias", [])),
        pre=tuple(_names(_soft(softdeps, "pre:"))),
        post=tuple(_names(_soft(softdeps, "post:"))),
        softdeps=tuple(softdeps),
    )


class ModuleSet:
    """The modules of one kernel."""

    def __init__(self, modules: Iterable[Module], builtin: str = "") -> None:
        """Args: modules in the order of ``modules.order``; ``builtin``: the text of ``modules.builtin``."""
        self._modules: Mapping[str, Module] = {module.name: module for module in modules}
        self._builtin = {module_name(line) for line in builtin.split()}

    def __len__(self) -> int:
        return len(self._modules)

    def closure(self, wanted: Iterable[str]) -> list[Module]:
        """The modules ``wanted`` with all they need, in an order in which they can be loaded.

        What is built into the kernel is left out.

        Raises:
            NotFoundError: the kernel has some of them neither as a module nor built in.
        """
        names = [module_name(name) for name in wanted]
        missing = [name for name in names if name not in self._modules and name not in self._builtin]
        if missing:
            raise NotFoundError(
                f"this kernel has no module {', '.join(missing)}",
                hint="Correct kernel.modules.",
            )
        order: dict[str, Module] = {}
        for name in names:
            self._visit(name, order, set(), soft=True)
        return list(order.values())

    def dep_text(self) -> str:
        """``modules.dep``: each module's path, and those it needs in reverse load order."""
        lines = []
        for module in self._modules.values():
            order: dict[str, Module] = {}
            self._visit(module.name, order, set(), soft=False)
            needed = [other.path for other in reversed(order.values()) if other is not module]
            lines.append(f"{module.path}:{''.join(f' {path}' for path in needed)}\n")
        return "".join(lines)

    def alias_text(self) -> str:
        """``modules.alias``: which module serves which alias."""
        lines = (f"alias {alias} {m.name}\n" for m in self._modules.values() for alias in m.aliases)
        return "# Aliases extracted from modules themselves.\n" + "".join(lines)

    def softdep_text(self) -> str:
        """``modules.softdep``: what is to be loaded around a module if it exists."""
        lines = (f"softdep {m.name} {text}\n" for m in self._modules.values() for text in m.softdeps)
        return "# Soft dependencies extracted from modules themselves.\n" + "".join(lines)

    def _visit(self, name: str, order: dict[str, Module], path: set[str], *, soft: bool) -> None:
        module = self._modules.get(name)
        if module is None or name in order or name in path:
            return
        path.add(name)
        for needed in (*(module.pre if soft else ()), *module.depends):
            self._visit(needed, order, path, soft=soft)
        order[name] = module
        for after in module.post if soft else ():
            self._visit(after, order, path, soft=soft)
        path.discard(name)


def _names(parts: Iterable[str]) -> Iterator[str]:
    return (part.replace("-", "_") for part in parts if part)


def _soft(softdeps: Iterable[str], wanted: str) -> Iterator[str]:
    for text in softdeps:
        kind = ""
        for word in text.split():
            if word in ("pre:", "post:"):
                kind = word
            elif kind == wanted:
                yield word


def _section(elf: bytes, wanted: bytes, path: str) -> bytes:
    """The bytes of a section of a 64-bit little-endian ELF file (elf(5)); b"" if it has none of that name."""
    try:
        if elf[:6] != b"\x7fELF\x02\x01":
            raise ArchiveError(f"{path} is not a kernel module for this kind of machine")
        (table,) = struct.unpack_from("<Q", elf, 40)
        entry_size, count, names_index = struct.unpack_from("<HHH", elf, 58)
        names = struct.unpack_from("<IIQQQQ", elf, table + names_index * entry_size)[4]
        for index in range(count):
            name, _, _, _, offset, size = struct.unpack_from("<IIQQQQ", elf, table + index * entry_size)
            if elf[names + name : names + name + len(wanted) + 1] == wanted + b"\0":
                return elf[offset : offset + size]
    except (struct.error, OverflowError) as error:  # an offset may be any number of 64 bits
        raise ArchiveError(f"the kernel module {path} is damaged", details=str(error)) from error
    return b""
