# SPDX-License-Identifier: Apache-2.0
"""Debian packages as one more source of an image's files: the sections ``packages`` and ``kernel.package``.

An addition of Cove to LinuxKit's YAML. The packages make a root as a package manager would (``tree.py``); no
script of theirs runs. Where there is nothing but a kernel's package, its modules go to /lib/modules, as a kernel
image of LinuxKit has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cove.debian.archive import Archive
from cove.debian.lock import Lock
from cove.image import busybox
from cove.image.entries import Entry, EntryKind, Piece, file
from cove.image.initrd import Node, cpio, guest_nodes
from cove.image.kernel import (
    KernelParts,
    kernel_packages,
    module_lists,
    needed_modules,
    read_modules,
    take_kernel,
    unpack_in_place,
)
from cove.image.linuxkit.config import Config
from cove.image.linuxkit.output import TIME, Output
from cove.image.modules import ModuleSet
from cove.image.rootfs import LOCK_IN_IMAGE, add_applets, add_packages, add_skeleton
from cove.image.sbom.component import Component, of_package
from cove.image.sbom.licence import Licence, read_copyright
from cove.image.spool import unpack_all
from cove.image.tar.header import DIRECTORY, FILE, LINK, NANO, SYMLINK, Header
from cove.image.tree import Dropper, Tree

_KINDS = {EntryKind.DIRECTORY: DIRECTORY, EntryKind.FILE: FILE, EntryKind.SYMLINK: SYMLINK}
_CHUNK = 1 << 20
_OWN_PREFIX = "usr/"
_DOCUMENTS = "usr/share/doc/"


@dataclass(frozen=True, kw_only=True)
class Packages:
    """The packages of an image, found but not fetched.

    Args:
        config: what asked for them.
        root: what the root is made of.
        kernel: the kernel's package, with the meta package if there is one.
        all: all that is fetched.
    """

    config: Config
    root: Lock
    kernel: Lock
    all: Lock

    def label(self, name: str) -> str:
        """A package as the source of files: ``debian:NAME=VERSION``."""
        package = self.all.get(name)
        return f"debian:{name}={package.version}" if package else f"debian:{name}"


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """Packages whose files are there.

    Args:
        packages: which.
        entries: the files of the root, sorted by path, the kernel's modules among them.
        kernel: None if no kernel was asked for.
        modules: what the kernel's modules say of themselves.
        busybox: the program for an initramfs; None without a kernel.
        documents: the copyright files of packages, and links between their folders, by path.
    """

    packages: Packages
    entries: tuple[Entry, ...]
    kernel: KernelParts | None
    modules: ModuleSet | None
    busybox: Entry | None
    documents: Mapping[str, Entry]

    def components(self) -> list[Component]:
        """The packages as parts of the image, with their licences."""
        return [of_package(one, self._licence(one.name)) for one in self.packages.all.packages]

    def _licence(self, package: str) -> Licence:
        """What its copyright file says; a package's folder of documents may be a link to another's."""
        folder = self.documents.get(f"{_DOCUMENTS}{package}")
        owner = folder.target.rpartition("/")[2] if folder is not None and folder.target else package
        entry = self.documents.get(f"{_DOCUMENTS}{owner}/copyright")
        if entry is None or entry.kind is not EntryKind.FILE:
            return Licence()
        return read_copyright(entry.read().decode("utf-8", "replace"))


def resolve_packages(config: Config, archive: Archive) -> Packages:
    """Find the packages that ``config`` asks for.

    Raises:
        ResolveError, NetworkError, IntegrityError: they cannot be had.
    """
    wanted = config.packages
    root = archive.resolve(wanted.include, exclude=wanted.exclude) if wanted.include else Lock(())
    kernel, extra = Lock(()), []
    if config.kernel.package:
        behind = archive.resolve([config.kernel.package, busybox.PACKAGE])
        kernel = Lock.of(kernel_packages(behind, config.kernel.package))
        extra = [package for package in behind.packages if package.name == busybox.PACKAGE]
    everything = {package.name: package for package in (*kernel.packages, *extra, *root.packages)}
    return Packages(config=config, root=root, kernel=kernel, all=Lock.of(everything.values()))


def unpack_packages(packages: Packages, debs: Mapping[str, Path], scratch: Path) -> Unpacked:
    """Unpack packages and put the root together.

    Args:
        packages: which.
        debs: each package's .deb.
        scratch: a folder; the entries point into files in it.

    Raises:
        ArchiveError: a package is damaged, or two cannot be in one root.
        UsageError: the kernel's package holds none, or the applets of a missing busybox are wanted.
        StorageError: the disk is full.
    """
    config = packages.config
    unpacked = unpack_all({one.name: debs[one.name] for one in packages.all.packages}, scratch)
    kernel, of_kernel = None, []
    if config.kernel.package:
        kernel = take_kernel(
            config.kernel.package,
            [(one, unpacked[one.name]) for one in packages.kernel.packages],
            binary=config.kernel.binary,
        )
        of_kernel = unpack_in_place(kernel.modules, config.kernel.unpacked)
    tree = Tree()
    names = [one.name for one in packages.root.packages if packages.kernel.get(one.name) is None]
    parts = [*(unpacked[name] for name in names), of_kernel]
    add_packages(tree, parts, drop=Dropper(config.packages.drop))
    if packages.root.packages:
        add_skeleton(tree)
        tree.add(file(LOCK_IN_IMAGE, packages.all.to_json()))
    if config.packages.applets:
        add_applets(tree)
    modules = None
    if kernel is not None:
        modules = read_modules(kernel.release, tree.under(f"usr/lib/modules/{kernel.release}"))
        for entry in module_lists(kernel.release, modules):
            tree.add(entry)
    return Unpacked(
        packages=packages,
        entries=tuple(tree.sorted() if packages.root.packages else _modules_alone(tree)),
        kernel=kernel,
        modules=modules,
        busybox=next((e for e in unpacked.get(busybox.PACKAGE, []) if e.path == busybox.PATH), None),
        documents={
            entry.path: entry
            for entries in unpacked.values()
            for entry in entries
            if entry.path.startswith(_DOCUMENTS) and (entry.path.endswith("/copyright") or entry.target)
        },
    )


def _modules_alone(tree: Tree) -> list[Entry]:
    """Only the kernel's modules, in /lib: the root is not Debian's, which has /lib in /usr."""
    folders = [replace(entry, path="lib") for entry in tree.sorted() if entry.path == "usr/lib"]
    below = [entry for entry in tree.under("usr/lib") if entry.path.startswith("usr/lib/modules")]
    return [*folders, *(replace(entry, path=entry.path.removeprefix(_OWN_PREFIX)) for entry in below)]


def add_kernel(unpacked: Unpacked, cmdline: str, out: Output) -> None:
    """Put the kernel to /boot, unless it comes from elsewhere.

    Args:
        unpacked: the packages.
        cmdline: the kernel's command line.
        out: where to.
    """
    kernel = unpacked.kernel
    if kernel is None:
        return
    here = out.at(unpacked.packages.label(kernel.package.name), "kernel")
    here.folder("boot")
    here.file("boot/cmdline", cmdline.encode())
    if not unpacked.packages.config.kernel.external:
        here.raw(
            replace(_header(kernel.binary), name="boot/kernel", mode=0o600, mtime=TIME),
            _chunks(kernel.binary),
        )


def add_root(unpacked: Unpacked, out: Output) -> None:
    """Put the files of packages to /."""
    first: dict[str, str] = {}
    for entry in unpacked.entries:
        known = unpacked.packages.all.get(entry.origin)
        source = unpacked.packages.label(entry.origin) if known else "linuxkit.packages"
        here = out.at(source, "packages")
        header = _header(entry)
        if entry.inode and entry.inode in first:
            here.raw(replace(header, kind=LINK, link=first[entry.inode], size=0))
            continue
        if entry.inode:
            first[entry.inode] = entry.path
        here.raw(header, _chunks(entry))


def first_stage(unpacked: Unpacked, init: bytes) -> Iterator[bytes]:
    """An initramfs that loads modules and goes on to a root on a disk, as a newc archive in pieces.

    Args:
        unpacked: packages with a kernel.
        init: the script that becomes ``/init``.
    """
    kernel, modules, program = unpacked.kernel, unpacked.modules, unpacked.busybox
    if kernel is None or modules is None or program is None:
        return iter(())
    wanted = unpacked.packages.config.kernel.modules
    top = f"usr/lib/modules/{kernel.release}"
    entries = [e for e in _at_usr(unpacked.entries) if e.path.startswith(top)]
    nodes: Iterator[Node] = guest_nodes(
        init=init, busybox=program.read(), modules=needed_modules(kernel.release, modules, entries, wanted)
    )
    return cpio(nodes)


def _at_usr(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    for entry in entries:
        own = entry.path.startswith("lib/modules")
        yield replace(entry, path=_OWN_PREFIX + entry.path) if own else entry


def _header(entry: Entry) -> Header:
    return Header(
        name=entry.path,
        kind=_KINDS[entry.kind],
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size if entry.kind is EntryKind.FILE else 0,
        mtime=entry.mtime * NANO,
        link=entry.target if entry.kind is EntryKind.SYMLINK else "",
    )


def _chunks(entry: Entry) -> Iterator[bytes]:
    if entry.kind is not EntryKind.FILE:
        return
    if not isinstance(entry.contents, Piece):
        yield entry.contents
        return
    with entry.contents.file.open("rb") as stream:
        stream.seek(entry.contents.offset)
        left = entry.contents.size
        while left:
            data = stream.read(min(_CHUNK, left))
            left -= len(data)
            yield data
