# SPDX-License-Identifier: Apache-2.0
"""What needs no program of the toolbox; all formats are made and booted in tests/integration/test_formats.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cove.errors import UnsupportedError, UsageError
from cove.image.formats.disks import WRITERS, Parts, iso_bios, iso_efi, raw_efi
from cove.image.formats.names import FORMATS
from cove.machine.boot.contents import HEAD, has_boot_code, has_uefi_partition
from cove.system.process import Command
from cove.units import MIB

from .test_fat import Reader
from .test_iso9660 import read


class Tools:
    """A toolbox whose files hold their own names, and that has no programs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def command(self, group: str, name: str) -> Command:
        raise AssertionError(f"{group} {name}")

    def file(self, group: str, path: str) -> Path:
        made = self._folder / path.replace("/", "_")
        made.write_text(f"{group}: {path}" * 100)
        return made


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    (tmp_path / "kernel").write_bytes(b"kernel" * 1000)
    (tmp_path / "initrd").write_bytes(b"initrd" * 1000)
    return Parts(kernel=tmp_path / "kernel", initrd=tmp_path / "initrd", cmdline="console=ttyS0  a=1\n")


def made(write: object, parts: Parts, tmp_path: Path) -> bytes:
    write(parts, tmp_path / "out", Tools(tmp_path))  # type: ignore[operator]
    return (tmp_path / "out").read_bytes()


def test_every_format_has_a_writer() -> None:
    assert set(WRITERS) <= set(FORMATS)
    assert all(FORMATS[name].tools for name in WRITERS)


def test_raw_efi(parts: Parts, tmp_path: Path) -> None:
    disk = made(raw_efi, parts, tmp_path)
    assert has_uefi_partition(disk[:HEAD])
    assert not has_boot_code(disk[:512])
    files = Reader(disk[MIB:]).files()
    assert files["kernel"] == b"kernel" * 1000
    assert files["EFI/BOOT/BOOTX64.EFI"].startswith(b"boot-efi: usr/lib/systemd/boot/efi/systemd-bootx64.efi")
    assert files["loader/entries/linux.conf"].decode().splitlines()[-1] == "options console=ttyS0 a=1"
    assert disk == made(raw_efi, parts, tmp_path)
    assert disk != made(raw_efi, replace(parts, cmdline="b"), tmp_path)


def test_the_size_that_is_asked_for(parts: Parts, tmp_path: Path) -> None:
    assert len(made(raw_efi, replace(parts, size=100 * MIB + 1), tmp_path)) == 101 * MIB
    assert len(made(raw_efi, replace(parts, size=MIB), tmp_path)) < 50 * MIB


def test_isos(parts: Parts, tmp_path: Path) -> None:
    files = read(made(iso_bios, parts, tmp_path))
    assert files["KERNEL"] == b"kernel" * 1000
    assert b"APPEND console=ttyS0 a=1\n" in files["ISOLINUX.CFG"]
    assert files["ISOLINUX.CFG"].startswith(b"SERIAL 0 115200")
    files = read(made(iso_efi, parts, tmp_path))
    assert Reader(files["EFI.IMG"]).files()["initrd.img"] == b"initrd" * 1000
    assert {path.name for path in tmp_path.iterdir()} >= {"out"}
    assert not list(tmp_path.glob("out.*"))


def test_refused(parts: Parts, tmp_path: Path) -> None:
    arm = replace(parts, architecture="arm64")
    assert b"systemd-bootaa64.efi" in made(raw_efi, arm, tmp_path)
    with pytest.raises(UnsupportedError, match="for PCs"):
        made(iso_bios, arm, tmp_path)
    with pytest.raises(UnsupportedError, match="no UEFI loader for riscv64"):
        made(raw_efi, replace(parts, architecture="riscv64"), tmp_path)
    with pytest.raises(UsageError, match="control character"):
        made(iso_bios, replace(parts, cmdline="a\x01b"), tmp_path)
