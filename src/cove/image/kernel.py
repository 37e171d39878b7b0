# SPDX-License-Identifier: Apache-2.0
"""Take the kernel and its modules out of their Debian package."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from cove.debian.archive import Archive
from cove.debian.deb import Deb
from cove.debian.lock import Lock, LockedPackage
from cove.errors import UsageError
from cove.image.entries import Entry, EntryKind, file
from cove.image.modules import Module, ModuleSet, is_module, module_name, read_module, unpack_module

UML_PACKAGE = "user-mode-linux"
"""The kernel that is a program; it has its own places for itself and for its modules."""

_PLACES = {
    UML_PACKAGE: (re.compile(r"usr/bin/linux\.uml"), re.compile(r"usr/lib/uml/modules/([^/]+)(?:/(.*))?"))
}
_USUAL = (re.compile(r"boot/vmlinuz-.*"), re.compile(r"(?:usr/)?lib/modules/([^/]+)(?:/(.*))?"))
_KEPT_LISTS = {"modules.builtin", "modules.builtin.modinfo", "modules.order"}


@dataclass(frozen=True, kw_only=True)
class KernelParts:
    """A kernel as its package holds it.

    Args:
        package: the real package, never a meta one.
        release: what ``uname -r`` will say.
        binary: the kernel.
        sha256: digest (hex) of the kernel.
        modules: entries of its modules folder, at their place in the image; without depmod's lists.
    """

    package: LockedPackage
    release: str
    binary: Entry
    sha256: str
    modules: Sequence[Entry]


def kernel_packages(lock: Lock, kernel: str) -> list[LockedPackage]:
    """The package ``kernel`` and, if it is a meta package, the real one behind it; from a lock of all it depends on.

    Its other dependencies serve to install it (initramfs-tools, linux-base) and have no place in an image.
    """
    stem = kernel.split("-", maxsplit=1)[0] + "-image-"
    return [p for p in lock.packages if p.name == kernel or p.name.startswith(stem)]


def extract_kernel(archive: Archive, package: str) -> bytes:
    """The kernel of a package alone, without modules, fetched and verified.

    Raises:
        UsageError: the package holds no kernel.
        CoveError: it cannot be had.
    """
    behind = Lock.of(kernel_packages(archive.resolve([package]), package))
    for deb in archive.fetch(behind).values():
        for member, contents in Deb(deb).members():
            if contents is not None and _USUAL[0].fullmatch(member.name):
                return contents.read()
    raise UsageError(f"{package} holds no kernel")


def take_kernel(
    kernel: str, packages: Iterable[tuple[LockedPackage, Sequence[Entry]]], *, binary: str = ""
) -> KernelParts:
    """Find the kernel in its unpacked packages.

    Args:
        kernel: the package that was asked for.
        packages: locked packages, each with its entries.
        binary: the kernel's path in the package; by default the place where Debian puts it.

    Raises:
        UsageError: none of them holds a kernel, or not exactly one.
    """
    binary_place, modules_place = _PLACES.get(kernel, _USUAL)
    if binary:
        binary_place = re.compile(re.escape(binary.strip("/")))
    packages = list(packages)
    found = [
        (package, entry)
        for package, entries in packages
        for entry in entries
        if entry.kind is EntryKind.FILE and binary_place.fullmatch(entry.path)
    ]
    if len(found) != 1:
        raise UsageError(
            f"{kernel} holds {len(found) or 'no'} kernel{'s' if len(found) > 1 else ''}",
            details="\n".join(f"{p.name} {p.version}" for p, _ in packages),
            hint="Set kernel.binary to the kernel's path in the package.",
        )
    package, program = found[0]
    moved = [_moved(entry, modules_place) for _, entries in packages for entry in entries]
    modules = [entry for entry in moved if entry is not None]
    releases = sorted({entry.path.split("/")[3] for entry in modules})
    if len(releases) != 1:
        raise UsageError(f"{kernel} has modules for {len(releases)} kernels", details=" ".join(releases))
    return KernelParts(
        package=package,
        release=releases[0],
        binary=program,
        sha256=hashlib.sha256(program.read()).hexdigest(),
        modules=modules,
    )


def _moved(entry: Entry, place: re.Pattern[str]) -> Entry | None:
    match = place.fullmatch(entry.path)
    if match is None:
        return None
    below = match[2]
    if below is not None and "/" not in below and below.startswith("modules.") and below not in _KEPT_LISTS:
        return None  # depmod's lists are made anew, for what is left after some were dropped
    return replace(entry, path="usr/lib/modules/" + "/".join(filter(None, match.groups())))


def read_modules(release: str, entries: Sequence[Entry]) -> ModuleSet:
    """Read the modules that are left in the image.

    Args:
        release: the kernel's.
        entries: what is below ``usr/lib/modules/RELEASE``.
    """
    top = f"usr/lib/modules/{release}/"
    files = {entry.path.removeprefix(top): entry for entry in entries if entry.kind is EntryKind.FILE}
    order = {path: index for index, path in enumerate(_text(files, "modules.order").split())}
    paths = sorted(filter(is_module, files), key=lambda path: (order.get(_plain(path), len(order)), path))

    def read(path: str) -> Module:
        return read_module(unpack_module(files[path].read(), path), path)

    with ThreadPoolExecutor() as pool:  # xz decompression runs outside the interpreter's lock
        return ModuleSet(pool.map(read, paths, chunksize=16), _text(files, "modules.builtin"))


def unpack_in_place(entries: Iterable[Entry], wanted: Iterable[str]) -> list[Entry]:
    """The files of a kernel's modules, those that are ``wanted`` and all that these need uncompressed.

    Args:
        entries: what is below ``usr/lib/modules/RELEASE``.
        wanted: names; those that this kernel has built in, or not at all, are passed over.
    """
    entries = list(entries)
    known = {module_name(entry.path): entry for entry in entries if is_module(entry.path)}
    plain: dict[str, Entry] = {}
    waiting = [module_name(name) for name in wanted]
    while waiting:
        entry = known.get(waiting.pop())
        if entry is None or entry.path in plain:
            continue
        data = unpack_module(entry.read(), entry.path)
        plain[entry.path] = replace(entry, path=_plain(entry.path), contents=data, inode="")
        module = read_module(data, entry.path)
        waiting += [*module.pre, *module.depends]
    return [plain.get(entry.path, entry) for entry in entries]


def module_lists(release: str, modules: ModuleSet) -> list[Entry]:
    """The lists of depmod(8) as files of the image."""
    top = f"usr/lib/modules/{release}"
    return [
        file(f"{top}/modules.dep", modules.dep_text()),
        file(f"{top}/modules.alias", modules.alias_text()),
        file(f"{top}/modules.softdep", modules.softdep_text()),
    ]


def needed_modules(
    release: str, modules: ModuleSet, entries: Sequence[Entry], wanted: Iterable[str]
) -> list[tuple[str, bytes]]:
    """Name and unpacked bytes of each module that the initramfs needs for ``wanted``, in load order."""
    files = {entry.path: entry for entry in entries}
    top = f"usr/lib/modules/{release}/"
    return [
        (module.name, unpack_module(files[top + module.path].read(), module.path))
        for module in modules.closure(wanted)
    ]


def _plain(path: str) -> str:
    return path.partition(".ko")[0] + ".ko"


def _text(files: dict[str, Entry], name: str) -> str:
    return files[name].read().decode() if name in files else ""
