# SPDX-License-Identifier: Apache-2.0
"""Look at the files of an image: what is to be booted, and from what."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cove.errors import NotFoundError, UsageError
from cove.machine.boot.contents import (
    CD_SECTOR,
    HEAD,
    Contents,
    boot_catalog_at,
    has_boot_code,
    has_uefi_partition,
    identify,
    iso_boots,
    qcow2_references,
)
from cove.spec.boot import BootRequest, Disk, DiskFormat, Kernel
from cove.spec.machine import Architecture

ReadHead = Callable[[Path, DiskFormat, Path], None]
"""Writes the first :data:`~cove.machine.boot.contents.HEAD` bytes that a guest sees of a disk into a raw file."""

# what `cove build` calls its outputs, after the name; the kernel is looked for first
_KERNEL, _CMDLINE, _STAGE = "-kernel", "-cmdline", "-stage.img"
_ROOTS = {"-initrd.img": "initrd", "-squashfs.img": "squashfs", "-erofs.img": "erofs"}
_WHOLE = (
    ".iso",
    "-efi.iso",
    "-efi-initrd.iso",
    "-bios.img",
    "-efi.img",
    ".qcow2",
    "-efi.qcow2",
    ".vmdk",
    ".vhd",
    ".raw",
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is to be booted.

    Args:
        kernel: what the VMM boots; None leaves it to a firmware.
        uml: whether the kernel is a User-Mode Linux.
        disks: disks of the image.
        architecture: of the kernel, if it says so.
        boots: what the disk can be booted by: "bios", "uefi".
    """

    kernel: Kernel | None = None
    uml: bool = False
    disks: tuple[Disk, ...] = ()
    architecture: Architecture | None = None
    boots: frozenset[str] = frozenset()


def look(request: BootRequest, read_head: ReadHead) -> Found:
    """Find out what ``request.image`` is, by its name's companions and by its bytes.

    Args:
        request: what was asked for.
        read_head: reads disks in other formats than raw.

    Raises:
        NotFoundError: there is no such file.
        UsageError: there are several, or it is nothing that can be booted.
    """
    image = request.image
    if image.is_dir():
        raise UsageError(f"{image} is a folder", hint="Name the image in it.")
    if not image.is_file():
        return _by_name(request, read_head)
    contents = examine(image)
    if contents.kind in ("kernel", "uml-kernel"):
        kernel = Kernel(image=image, initrd=_existing(request.initrd), cmdline=request.cmdline or "")
        return _kernel(kernel, contents)
    if contents.kind in ("squashfs", "erofs", "initrd", "tar", "unknown") and request.format is None:
        raise UsageError(f"{image} cannot be booted: {_WHY[contents.kind]}", hint=_HINT.get(contents.kind))
    if request.cmdline is not None or request.initrd is not None:
        raise UsageError(
            f"{image} is a disk, which brings its own kernel: --cmdline and --initrd are for kernels"
        )
    return _disk(image, contents, request.format, read_head)


_WHY = {
    "squashfs": "it is a root file system alone",
    "erofs": "it is a root file system alone",
    "initrd": "it is an initramfs, or something compressed, alone",
    "tar": "it is a tar",
    "unknown": "it is neither a kernel nor a disk with something to boot on it",
}
_HINT = {
    "squashfs": "Name what its file's name begins with, before -squashfs.img.",
    "erofs": "Name what its file's name begins with, before -erofs.img.",
    "initrd": "Name the kernel and give this with --initrd; or name what both files' names begin with.",
    "unknown": "A disk that is read raw whatever is on it: --format raw.",
}


def examine(path: Path) -> Contents:
    """Tell what a file is.

    Raises:
        NotFoundError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
            stream.seek(max(0, path.stat().st_size - 512))
            return identify(head, stream.read(512))
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}") from error


def disk_of(path: Path, form: DiskFormat | None, contents: Contents) -> Disk:
    """A disk as QEMU is to read it.

    A disk that names other files is taken for one only if the user or its name says that it is one: a guest that was
    given a raw disk could have written that.

    Raises:
        UsageError: it names other files, and nothing says that it should.
    """
    if form is None and contents.format == "qcow2":
        with path.open("rb") as stream:
            names = qcow2_references(stream.read(HEAD))
        if names and path.suffix not in (".qcow2", ".qcow"):
            raise UsageError(
                f"{path} claims to be a qcow2 that builds on {names[0] or 'another file'}",
                details="its name does not say qcow2, so a guest may have written that",
                hint="If it is one, say so: --format qcow2 (or format=qcow2 behind --disk).",
            )
        return Disk(path=path, format="qcow2", references=_references(path, depth=8))
    chosen = form or contents.format
    return Disk(path=path, format=chosen, references=_references(path, depth=8) if chosen == "qcow2" else ())


def _references(path: Path, *, depth: int) -> tuple[Path, ...]:
    """The files that a qcow2 builds on, and those that they build on."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if not head.startswith(b"QFI\xfb") or not depth:
        return ()
    below = [path.parent / name for name in qcow2_references(head) if name]
    more = [other for one in below if one.is_file() for other in _references(one, depth=depth - 1)]
    return (*below, *more)


def _by_name(request: BootRequest, read_head: ReadHead) -> Found:
    """The files whose names begin as the image does."""
    image = request.image
    kernel = image.with_name(image.name + _KERNEL)
    roots = {kind: image.with_name(image.name + end) for end, kind in _ROOTS.items()}
    there = {kind: path for kind, path in roots.items() if path.is_file()}
    whole = [path for end in _WHOLE if (path := image.with_name(image.name + end)).is_file()]
    if kernel.is_file() and (there or not whole):
        return _with_kernel(request, kernel, there)
    if len(whole) == 1:
        return look(replace(request, image=whole[0]), read_head)
    if whole:
        raise UsageError(
            f"{image} is the beginning of several images",
            details="\n".join(str(path) for path in whole),
            hint="Name one of them.",
        )
    raise NotFoundError(
        f"there is no image {image}",
        details=f"neither such a file nor {image.name}{_KERNEL}, {', '.join(image.name + end for end in _WHOLE)}",
    )


def _with_kernel(request: BootRequest, kernel: Path, roots: dict[str, Path]) -> Found:
    own = kernel.with_name(request.image.name + _CMDLINE)
    text = own.read_text(errors="replace").strip() if own.is_file() else ""
    cmdline = text if request.cmdline is None else request.cmdline
    contents = examine(kernel)
    if contents.kind not in ("kernel", "uml-kernel"):
        raise UsageError(f"{kernel} is no kernel that can be booted here")
    initrd = _existing(request.initrd) or roots.get("initrd")
    if "initrd" in roots or ("squashfs" not in roots and "erofs" not in roots):
        return _kernel(Kernel(image=kernel, initrd=initrd, cmdline=cmdline), contents)
    kind = "squashfs" if "squashfs" in roots else "erofs"
    device = "/dev/ubda" if contents.kind == "uml-kernel" else "/dev/vda"
    if "root=" not in cmdline:
        cmdline = f"{cmdline} root={device} rootfstype={kind} ro".strip()
    stage = kernel.with_name(request.image.name + _STAGE)  # where the kernel's drivers are modules
    initrd = _existing(request.initrd) or (stage if stage.is_file() else None)
    found = _kernel(Kernel(image=kernel, initrd=initrd, cmdline=cmdline), contents)
    return replace(found, disks=(Disk(path=roots[kind], read_only=True),))


def _kernel(kernel: Kernel, contents: Contents) -> Found:
    return Found(kernel=kernel, uml=contents.kind == "uml-kernel", architecture=contents.architecture)


def _existing(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    return path


def _disk(image: Path, contents: Contents, form: DiskFormat | None, read_head: ReadHead) -> Found:
    if contents.kind == "iso" and form is None:
        return Found(
            disks=(Disk(path=image, read_only=True, cdrom=True),), boots=frozenset(_iso_boots(image))
        )
    disk = disk_of(image, form, contents)
    with tempfile.TemporaryDirectory(prefix="cove-look-") as folder:
        head = Path(folder) / "head"
        if disk.format == "raw":
            with image.open("rb") as stream:
                head.write_bytes(stream.read(HEAD))
        else:
            read_head(image, disk.format, head)
        first = head.read_bytes()
    boots = {"bios"} if has_boot_code(first) else set()
    return Found(disks=(disk,), boots=frozenset(boots | ({"uefi"} if has_uefi_partition(first) else set())))


def _iso_boots(image: Path) -> set[str]:
    with image.open("rb") as stream:
        stream.seek(17 * CD_SECTOR)
        place = boot_catalog_at(stream.read(CD_SECTOR))
        if place is None:
            return set()
        stream.seek(place)
        return set(iso_boots(stream.read(CD_SECTOR)))
