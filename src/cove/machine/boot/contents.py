# SPDX-License-Identifier: Apache-2.0
"""What a file is, told by its bytes. Pure.

Formats: Documentation/arch/x86/boot.rst and arch/arm64/booting.rst of Linux; ELF; ECMA-119 and El Torito 1.0;
UEFI 2.10 chapter 5 (GPT, MBR); QEMU's docs/interop/qcow2.rst; VMDK 5.0; the VHD and VHDX specifications of Microsoft.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from cove.spec.boot import DiskFormat
from cove.spec.machine import Architecture

HEAD = 64 * 1024
"""Bytes of a file's beginning that are enough to tell."""

SECTOR = 512
CD_SECTOR = 2048

Kind = Literal["kernel", "uml-kernel", "iso", "disk", "squashfs", "erofs", "initrd", "tar", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a file is.

    Args:
        kind: in one word.
        format: of a disk.
        architecture: of a kernel.
    """

    kind: Kind
    format: DiskFormat = "raw"
    architecture: Architecture | None = None


def identify(head: bytes, tail: bytes = b"") -> Contents:
    """Tell what a file is.

    Args:
        head: its first :data:`HEAD` bytes, or all of it.
        tail: its last 512 bytes, where a VHD of fixed size says so.
    """
    if head[0x202:0x206] == b"HdrS":
        return Contents(kind="kernel", architecture="x86_64")
    if head[0x38:0x3C] == b"ARM\x64":
        return Contents(kind="kernel", architecture="aarch64")
    if head.startswith(b"\x7fELF"):
        return _elf(head)
    if head[0x8001:0x8006] == b"CD001":
        return Contents(kind="iso")
    if form := _disk_format(head, tail):
        return Contents(kind="disk", format=form)
    return Contents(kind=_other(head))


def has_boot_code(first_sector: bytes) -> bool:
    """Whether a PC's BIOS would find something to run in a disk's first sector."""
    return first_sector[510:512] == b"\x55\xaa" and any(first_sector[:440])


def has_uefi_partition(head: bytes) -> bool:
    """Whether a disk's partition table (its first 34 sectors) has an EFI system partition."""
    if head[SECTOR : SECTOR + 8] == b"EFI PART":
        return _ESP_GUID in _gpt_types(head)
    types = {head[0x1BE + 16 * index + 4] for index in range(4)} if len(head) >= SECTOR else set()
    return 0xEF in types


def iso_boots(catalog: bytes) -> set[Literal["bios", "uefi"]]:
    """What an ISO's El Torito boot catalog (its first sector) offers to."""
    found: set[Literal["bios", "uefi"]] = set()
    if len(catalog) < 64 or catalog[0] != 1 or catalog[30:32] != b"\x55\xaa":
        return found
    platform = catalog[1]
    for at in range(32, len(catalog) - 31, 32):
        entry = catalog[at : at + 32]
        if entry[0] in (0x90, 0x91):
            platform = entry[1]
        elif entry[0] == 0x88:
            found.add("uefi" if platform == 0xEF else "bios")
    return found


def boot_catalog_at(boot_record: bytes) -> int | None:
    """Where an ISO's boot catalog lies (bytes), from the sector after its first descriptor; None if it has none."""
    if boot_record[:6] != b"\0CD001" or not boot_record[7:].startswith(b"EL TORITO SPECIFICATION"):
        return None
    sector: int = struct.unpack_from("<I", boot_record, 71)[0]
    return sector * CD_SECTOR


def qcow2_references(head: bytes) -> list[str]:
    """The files that a qcow2 names: its backing file, and that its data are in another (then the name is "")."""
    version, place, size = struct.unpack_from(">IQI", head, 4)
    names = [head[place : place + size].decode(errors="replace")] if place and size else []
    external = version >= 3 and len(head) >= 80 and struct.unpack_from(">Q", head, 72)[0] & 4
    return [*names, *([""] if external else [])]


_ESP_GUID = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
"""C12A7328-F81F-11D2-BA4B-00A0C93EC93B as it stands on the disk."""


def _gpt_types(head: bytes) -> set[bytes]:
    count, size = struct.unpack_from("<II", head, SECTOR + 80)
    size = max(size, 128)
    places = range(2 * SECTOR, min(len(head), 2 * SECTOR + min(count, 128) * size), size)
    return {head[place : place + 16] for place in places}


def _disk_format(head: bytes, tail: bytes) -> DiskFormat | None:
    if head.startswith(b"QFI\xfb"):
        return "qcow2"
    if head.startswith((b"KDMV", b"COWD")):
        return "vmdk"
    if head.startswith(b"vhdxfile"):
        return "vhdx"
    if b"conectix" in (head[:8], tail[:8]):
        return "vpc"
    return "raw" if head[510:512] == b"\x55\xaa" else None


def _elf(head: bytes) -> Contents:
    """A User-Mode Linux is an ordinary program: it has a loader or needs none, and is for x86_64."""
    machine = struct.unpack_from("<H", head, 18)[0] if len(head) >= 20 else 0
    if machine != 62:
        return Contents(kind="unknown")
    table, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
    types = {
        struct.unpack_from("<I", head, place)[0]
        for place in range(table, table + size * count, size or 1)
        if place + 4 <= len(head)
    }
    interpreter, note = 3, 4
    # a vmlinux for QEMU's -kernel has notes (PVH) and no interpreter
    if interpreter in types or note not in types:
        return Contents(kind="uml-kernel", architecture="x86_64")
    return Contents(kind="kernel", architecture="x86_64")


def _other(head: bytes) -> Kind:
    if head.startswith(b"hsqs"):
        return "squashfs"
    if head[1024:1028] == b"\xe2\xe1\xf5\xe0":
        return "erofs"
    if head.startswith((b"070701", b"070702", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0")):
        return "initrd"
    if head[257:262] == b"ustar":
        return "tar"
    return "unknown"
