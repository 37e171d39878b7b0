# SPDX-License-Identifier: Apache-2.0
"""Disks and ISOs that boot a kernel with an initramfs: raw-bios, raw-efi, iso-bios, iso-efi, qcow2, vmdk, vhd.

Each is a function from the parts of a boot to one file, made by an ordinary user, byte for byte the same for the same
parts: file systems, partition tables, ISOs and the VHD are written here; a BIOS is served by syslinux and isolinux,
UEFI by systemd-boot, all Debian's; qcow2 and vmdk are qemu-img's, with what is random in them replaced.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cove.errors import UnsupportedError, UsageError
from cove.image.entries import MTIME
from cove.image.formats import vhd
from cove.image.formats.fat import Contents, fat_size, write_fat
from cove.image.formats.iso9660 import Boot, write_iso
from cove.image.formats.partitions import FIRST, SECTOR, TABLE, guid_partition_table, master_boot_record
from cove.system.files import storage_errors
from cove.system.process import Command, run
from cove.units import MIB

LABEL = "COVE"
_DEADLINE = 600.0
_LOADERS = {
    "amd64": ("BOOTX64.EFI", "systemd-bootx64.efi"),
    "arm64": ("BOOTAA64.EFI", "systemd-bootaa64.efi"),
}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is booted.

    Args:
        kernel: its file.
        initrd: the initramfs.
        cmdline: the kernel's command line.
        size: bytes that a disk is to have; more if the parts need more, 0 for as few as possible.
        architecture: Go's name of it: "amd64", "arm64".
    """

    kernel: Path
    initrd: Path
    cmdline: str
    size: int = 0
    architecture: str = "amd64"


class Tools(Protocol):
    """Programs and files of the toolbox."""

    def command(self, group: str, name: str) -> Command:
        """A program of a group."""
        ...

    def file(self, group: str, path: str) -> Path:
        """A file of a group's packages."""
        ...


def raw_bios(parts: Parts, into: Path, tools: Tools) -> None:
    """A disk with a FAT partition that a PC's BIOS boots by syslinux."""
    _only_pcs(parts, "raw-bios")
    files: dict[str, Contents] = {
        "kernel": parts.kernel,
        "initrd.img": parts.initrd,
        "syslinux.cfg": _syslinux(parts, "kernel", "initrd.img"),
    }
    number = _number(parts, "raw-bios")
    with storage_errors(f"writing {into.name}"), into.open("wb") as out:
        size = fat_size(files) + MIB  # for syslinux itself
        record = tools.file("boot-bios", "usr/lib/SYSLINUX/mbr.bin").read_bytes()
        out.write(
            master_boot_record(
                record, sectors=size // SECTOR, kind=0x0C, active=True, signature=number.fields[0]
            )
        )
        out.seek(FIRST * SECTOR)
        write_fat(out, files, size=size, label=LABEL, serial=number.fields[0], hidden=FIRST)
        out.truncate(max(_rounded(parts.size), FIRST * SECTOR + size))
    syslinux = tools.command("boot-bios", "syslinux")
    # what it copies by mtools gets the time of everything generated
    fixed = Command(
        syslinux.argv, {**syslinux.env, "SOURCE_DATE_EPOCH": str(MTIME), "TZ": "UTC", "LC_ALL": "C"}
    )
    run(
        fixed.with_args("--install", "--offset", str(FIRST * SECTOR), str(into)),
        doing="installing syslinux",
        deadline=_DEADLINE,
    )


def raw_efi(parts: Parts, into: Path, tools: Tools) -> None:
    """A disk with an EFI system partition that UEFI boots by systemd-boot."""
    files = _esp(parts, tools)
    with storage_errors(f"writing {into.name}"), into.open("wb") as out:
        size = fat_size(files)
        total = max(_rounded(parts.size), FIRST * SECTOR + size + MIB) // SECTOR
        first, last = guid_partition_table(
            sectors=total, size=size // SECTOR, disk=_number(parts, "disk"), partition=_number(parts, "partition"),
            name="EFI System",
        )  # fmt: skip
        out.write(first)
        out.seek(FIRST * SECTOR)
        serial = _number(parts, "raw-efi").fields[0]
        write_fat(out, files, size=size, label=LABEL, serial=serial, hidden=FIRST)
        out.seek((total - TABLE) * SECTOR)
        out.write(last)


def iso_bios(parts: Parts, into: Path, tools: Tools) -> None:
    """An ISO that a PC's BIOS boots by isolinux, from a CD or, copied there, from a disk."""
    _only_pcs(parts, "iso-bios")
    files: dict[str, Contents] = {
        "KERNEL": parts.kernel,
        "INITRD.IMG": parts.initrd,
        "ISOLINUX.BIN": tools.file("boot-bios", "usr/lib/ISOLINUX/isolinux.bin"),
        "ISOLINUX.CFG": _syslinux(parts, "/kernel", "/initrd.img"),
        "LDLINUX.C32": tools.file("boot-bios", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
    }
    record = tools.file("boot-bios", "usr/lib/ISOLINUX/isohdpfx.bin").read_bytes()
    with storage_errors(f"writing {into.name}"), into.open("wb") as out:
        write_iso(out, files, label=LABEL, boot=Boot(file="ISOLINUX.BIN", uefi=False, hybrid=record))


def iso_efi(parts: Parts, into: Path, tools: Tools) -> None:
    """An ISO that UEFI boots by systemd-boot, which lies in a FAT file system on it with kernel and initramfs."""
    files = _esp(parts, tools)
    fat = into.with_name(f"{into.name}.fat")
    try:
        with storage_errors(f"writing {into.name}"):
            with fat.open("wb") as out:
                size = fat_size(files)
                serial = _number(parts, "iso-efi").fields[0]
                write_fat(out, files, size=size, label=LABEL, serial=serial, hidden=0)
                out.truncate(size)
            with into.open("wb") as out:
                write_iso(out, {"EFI.IMG": fat}, label=LABEL, boot=Boot(file="EFI.IMG", uefi=True))
    finally:
        fat.unlink(missing_ok=True)


def qcow2_bios(parts: Parts, into: Path, tools: Tools) -> None:
    """raw-bios as qcow2."""
    _converted(raw_bios, parts, into, tools, "qcow2")


def qcow2_efi(parts: Parts, into: Path, tools: Tools) -> None:
    """raw-efi as qcow2."""
    _converted(raw_efi, parts, into, tools, "qcow2")


def vmdk(parts: Parts, into: Path, tools: Tools) -> None:
    """raw-bios as a VMDK that is packed for transport, as vSphere takes it."""
    _converted(
        raw_bios, parts, into, tools, "vmdk", "-o", "subformat=streamOptimized,adapter_type=lsilogic,compat6"
    )
    with into.open("r+b") as stream:
        # the header says where the description lies, in sectors (VMDK 5.0, "Hosted Sparse Extent Header")
        place, size = (SECTOR * value for value in struct.unpack_from("<QQ", stream.read(SECTOR), 28))
        stream.seek(place)
        text = stream.read(size).rstrip(b"\0")
        text = re.sub(rb"(?m)^CID=.*$", b"CID=%08x" % _number(parts, "vmdk").fields[0], text)
        text = re.sub(rb'(?m)^(RW .*) ".*"$', rb'\1 "disk.vmdk"', text)
        stream.seek(place)
        stream.write(text.ljust(size, b"\0"))


def vhd_fixed(parts: Parts, into: Path, tools: Tools) -> None:
    """raw-bios as a VHD of fixed size, as Azure takes it."""
    raw_bios(parts, into, tools)
    with storage_errors(f"writing {into.name}"), into.open("ab") as out:
        out.write(vhd.footer(out.tell(), number=_number(parts, "vhd"), time=MTIME))


Writer = Callable[[Parts, Path, Tools], None]

WRITERS: Mapping[str, Writer] = {
    "iso-bios": iso_bios,
    "iso-efi": iso_efi,
    "raw-bios": raw_bios,
    "raw-efi": raw_efi,
    "qcow2-bios": qcow2_bios,
    "qcow2-efi": qcow2_efi,
    "vmdk": vmdk,
    "vhd": vhd_fixed,
}
"""What writes each format."""


def _converted(raw: Writer, parts: Parts, into: Path, tools: Tools, form: str, *options: str) -> None:
    scratch = into.with_name(f"{into.name}.raw")
    try:
        raw(parts, scratch, tools)
        run(
            # one request at a time, in order: several would be written in the order in which they end
            tools.command("qemu-utils", "qemu-img").with_args(
                "convert", "-m", "1", "-f", "raw", "-O", form, *options, str(scratch), str(into)
            ),
            doing=f"writing {into.name}",
            deadline=_DEADLINE,
        )
    finally:
        scratch.unlink(missing_ok=True)


def _esp(parts: Parts, tools: Tools) -> dict[str, Contents]:
    """The files of an EFI system partition."""
    if parts.architecture not in _LOADERS:
        raise UnsupportedError(f"there is no UEFI loader for {parts.architecture}")
    name, loader = _LOADERS[parts.architecture]
    entry = f"title Linux\nlinux /kernel\ninitrd /initrd.img\noptions {_plain(parts.cmdline)}\n"
    return {
        f"EFI/BOOT/{name}": tools.file("boot-efi", f"usr/lib/systemd/boot/efi/{loader}"),
        "kernel": parts.kernel,
        "initrd.img": parts.initrd,
        "loader/entries/linux.conf": entry.encode(),
        "loader/loader.conf": b"timeout 0\ndefault linux.conf\n",
    }


def _syslinux(parts: Parts, kernel: str, initrd: str) -> bytes:
    """The configuration of syslinux and isolinux (doc/config.rst of syslinux): no menu, the console of the kernel."""
    serial = "SERIAL 0 115200\n" if "console=ttyS0" in parts.cmdline else ""
    text = (
        f"{serial}DEFAULT linux\nPROMPT 0\nLABEL linux\n"
        f"    KERNEL {kernel}\n    INITRD {initrd}\n    APPEND {_plain(parts.cmdline)}\n"
    )
    return text.encode()


def _plain(cmdline: str) -> str:
    """One line of single words.

    Raises:
        UsageError: it holds a control character.
    """
    text = " ".join(cmdline.split())
    if any(ord(character) < 32 for character in text):
        raise UsageError(
            "the kernel's command line holds a control character, which no boot loader can carry"
        )
    return text


def _only_pcs(parts: Parts, name: str) -> None:
    if parts.architecture != "amd64":
        raise UnsupportedError(f"the format {name} is for PCs, and the image for {parts.architecture}")


def _number(parts: Parts, what: str) -> UUID:
    """A number that is the same for the same parts, and else for every purpose another."""
    digest = hashlib.sha256(f"{what}\n{parts.cmdline}\n{parts.size}\n".encode())
    for path in (parts.kernel, parts.initrd):
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return UUID(bytes=digest.digest()[:16], version=4)


def _rounded(size: int) -> int:
    return -(-size // MIB) * MIB
