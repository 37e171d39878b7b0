# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pytest

from cove.errors import UsageError
from cove.image.formats.iso9660 import SECTOR, Boot, write_iso
from cove.machine.boot.contents import boot_catalog_at, identify, iso_boots

ISOLINUX = bytes(range(256)) * 30 + b"odd"


def written(files: dict[str, Any], **boot: Any) -> bytes:
    out = io.BytesIO()
    write_iso(out, files, label="test", boot=Boot(**boot))
    return out.getvalue()


def read(iso: bytes) -> dict[str, bytes]:
    """The files of the root folder, by ECMA-119; both ways of writing a number must agree."""
    root = iso[16 * SECTOR + 156 : 16 * SECTOR + 190]
    place, size = struct.unpack_from("<I", root, 2)[0], struct.unpack_from("<I", root, 10)[0]
    folder, at, found = iso[place * SECTOR : place * SECTOR + size], 0, {}
    while folder[at]:
        record = folder[at : at + folder[at]]
        for offset in (2, 10):
            assert struct.unpack_from("<I", record, offset) == struct.unpack_from(">I", record, offset + 4)
        place, size = struct.unpack_from("<I", record, 2)[0], struct.unpack_from("<I", record, 10)[0]
        name = record[33 : 33 + record[32]]
        if name not in (b"\0", b"\1"):
            found[name.decode().removesuffix(";1")] = iso[place * SECTOR : place * SECTOR + size]
        at += folder[at]
    return found


def test_files_come_back(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(b"kernel" * 1000)
    iso = written({"KERNEL": tmp_path / "k", "EMPTY": b"", "BOOT.IMG": b"fat"}, file="BOOT.IMG", uefi=True)
    assert read(iso) == {"KERNEL": b"kernel" * 1000, "EMPTY": b"", "BOOT.IMG": b"fat"}
    assert len(iso) % SECTOR == 0
    assert struct.unpack_from("<I", iso, 16 * SECTOR + 80) == (len(iso) // SECTOR,)
    assert iso[18 * SECTOR : 18 * SECTOR + 6] == b"\xffCD001"


@pytest.mark.parametrize("uefi", [True, False])
def test_who_boots_it(uefi: bool) -> None:
    iso = written({"X": ISOLINUX}, file="X", uefi=uefi)
    assert identify(iso[: 64 * 1024]).kind == "iso"
    at = boot_catalog_at(iso[17 * SECTOR : 18 * SECTOR])
    assert at is not None
    catalog = iso[at : at + SECTOR]
    assert iso_boots(catalog) == {"uefi" if uefi else "bios"}
    assert sum(struct.unpack("<16H", catalog[:32])) & 0xFFFF == 0
    (place,) = struct.unpack_from("<I", catalog, 40)
    assert iso[place * SECTOR :][:8] == ISOLINUX[:8]


def test_isolinux_is_told_where_it_lies() -> None:
    iso = written({"ISOLINUX.BIN": ISOLINUX}, file="ISOLINUX.BIN", uefi=False)
    place = iso.index(ISOLINUX[:8], 20 * SECTOR)
    volume, own, length, check = struct.unpack_from("<IIII", iso, place + 8)
    padded = ISOLINUX[64:] + b"\0"
    assert (volume, own * SECTOR, length) == (16, place, len(ISOLINUX))
    assert check == sum(struct.unpack(f"<{len(padded) // 4}I", padded)) & 0xFFFFFFFF
    assert iso[place + 64 : place + len(ISOLINUX)] == ISOLINUX[64:]


def test_it_boots_from_a_disk_too() -> None:
    iso = written({"I": ISOLINUX}, file="I", uefi=False, hybrid=b"\xfa" * 432)
    assert iso[:432] == b"\xfa" * 432
    assert iso[510:512] == b"\x55\xaa"
    place, _ = struct.unpack_from("<QI", iso, 432)
    assert iso[place * 512 :][:8] == ISOLINUX[:8]
    first, sectors = struct.unpack_from("<II", iso, 446 + 8)
    assert (first, sectors * 512) == (0, len(iso))


def test_too_large(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as out:
        out.truncate(1 << 32)
    with pytest.raises(UsageError, match="more than a file on an ISO"):
        written({"L": tmp_path / "large"}, file="L", uefi=True)


def test_one_that_boots_nothing() -> None:
    out = io.BytesIO()
    write_iso(out, {"CONFIG": b"told"}, label="config")
    image = out.getvalue()
    assert image[16 * SECTOR :][1:6] == b"CD001"
    assert image[17 * SECTOR :][:6] == b"\xffCD001"
    assert b"CONFIG" in image[21 * SECTOR :][:SECTOR]
    assert image[23 * SECTOR :].startswith(b"told")
