# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.machine.boot.contents import (
    HEAD,
    boot_catalog_at,
    has_boot_code,
    has_uefi_partition,
    identify,
    iso_boots,
    qcow2_references,
)


def at(*pieces: tuple[int, bytes], size: int = HEAD) -> bytes:
    data = bytearray(size)
    for place, piece in pieces:
        data[place : place + len(piece)] = piece
    return bytes(data)


def elf(*types: int) -> bytes:
    head = bytearray(b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHI", 2, 62, 1))
    head += struct.pack("<QQQIHHH", 0, 64, 0, 0, 64, 56, len(types)) + bytes(6)
    for kind in types:
        head += struct.pack("<I", kind).ljust(56, b"\0")
    return bytes(head)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (at((0x202, b"HdrS"), (510, b"\x55\xaa")), "kernel"),
        (at((0x38, b"ARM\x64")), "kernel"),
        (elf(3, 1, 4), "uml-kernel"),
        (elf(1), "uml-kernel"),
        (elf(1, 4), "kernel"),
        (at((0x8001, b"CD001"), (510, b"\x55\xaa")), "iso"),
        (b"hsqs", "squashfs"),
        (at((1024, b"\xe2\xe1\xf5\xe0")), "erofs"),
        (b"070701", "initrd"),
        (b"\x1f\x8b", "initrd"),
        (at((257, b"ustar")), "tar"),
        (b"", "unknown"),
        (bytes(HEAD), "unknown"),
    ],
)
def test_kinds(head: bytes, kind: str) -> None:
    assert identify(head).kind == kind


@pytest.mark.parametrize(
    ("head", "tail", "form"),
    [
        (b"QFI\xfb", b"", "qcow2"),
        (b"KDMV", b"", "vmdk"),
        (b"vhdxfile", b"", "vhdx"),
        (b"conectix", b"", "vpc"),
        (at((510, b"\x55\xaa")), b"conectix".ljust(512), "vpc"),
        (at((510, b"\x55\xaa")), bytes(512), "raw"),
    ],
)
def test_disks(head: bytes, tail: bytes, form: str) -> None:
    found = identify(head, tail)
    assert (found.kind, found.format) == ("disk", form)


def test_architectures() -> None:
    assert identify(at((0x202, b"HdrS"))).architecture == "x86_64"
    assert identify(at((0x38, b"ARM\x64"))).architecture == "aarch64"


@pytest.mark.skipif(sys.platform != "linux", reason="needs an ELF program")
def test_an_ordinary_program_would_be_a_user_mode_linux() -> None:
    with Path(sys.executable).resolve().open("rb") as program:
        assert identify(program.read(HEAD)).kind == "uml-kernel"


@given(st.binary(max_size=2000))
def test_any_bytes_are_something(data: bytes) -> None:
    identify(data, data)
    has_boot_code(data)
    has_uefi_partition(data)
    iso_boots(data)
    boot_catalog_at(data)


@given(st.binary(max_size=200))
def test_any_elf_is_something(data: bytes) -> None:
    identify(b"\x7fELF\x02\x01\x01" + data)


def test_what_a_bios_runs() -> None:
    assert has_boot_code(at((0, b"\xfa"), (510, b"\x55\xaa")))
    assert not has_boot_code(at((0x1BE, b"\x80\0\0\0\xef"), (510, b"\x55\xaa")))
    assert not has_boot_code(at((0, b"\xfa")))


def test_what_uefi_boots() -> None:
    esp = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
    gpt = at(
        (510, b"\x55\xaa"), (512, b"EFI PART"), (512 + 80, struct.pack("<II", 128, 128)), (1024 + 128, esp)
    )
    assert has_uefi_partition(gpt)
    assert not has_uefi_partition(gpt.replace(esp, bytes(16)))
    assert has_uefi_partition(at((0x1BE + 4, b"\xef"), (510, b"\x55\xaa")))


def test_boot_catalogs() -> None:
    validation = bytes([1, 0]) + bytes(28) + b"\x55\xaa"
    bios, uefi = b"\x88".ljust(32, b"\0"), b"\x91\xef\x01\0".ljust(32, b"\0") + b"\x88".ljust(32, b"\0")
    assert iso_boots((validation + bios).ljust(2048, b"\0")) == {"bios"}
    assert iso_boots((validation + bios + uefi).ljust(2048, b"\0")) == {"bios", "uefi"}
    assert iso_boots((b"\x01\xef" + validation[2:] + bios).ljust(2048, b"\0")) == {"uefi"}
    record = b"\0CD001\x01EL TORITO SPECIFICATION".ljust(71, b"\0") + struct.pack("<I", 20)
    assert boot_catalog_at(record.ljust(2048, b"\0")) == 20 * 2048
    assert boot_catalog_at(bytes(2048)) is None


def test_files_that_a_qcow2_names() -> None:
    plain = struct.pack(">4sIQI", b"QFI\xfb", 3, 0, 0).ljust(104, b"\0")
    assert qcow2_references(plain) == []
    backed = struct.pack(">4sIQI", b"QFI\xfb", 3, 104, 4).ljust(104, b"\0") + b"base"
    assert qcow2_references(backed) == ["base"]
    external = bytearray(plain)
    external[72:80] = struct.pack(">Q", 4)
    assert qcow2_references(bytes(external)) == [""]
