# SPDX-License-Identifier: Apache-2.0
"""The FAT32 that is written, as a reader of the specification's finds it; fsck.fat has its say in tests/integration."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.image.formats.fat import fat_size, shape_of, write_fat
from cove.units import MIB


class Reader:
    """Reads a FAT32 as its specification says."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        (self.sector, self.per_cluster, self.reserved, self.tables) = struct.unpack_from("<HBHB", data, 11)
        (self.fat,) = struct.unpack_from("<I", data, 36)
        (self.root,) = struct.unpack_from("<I", data, 44)
        assert data[510:512] == b"\x55\xaa"
        assert data[6 * 512 : 7 * 512] == data[:512]

    def chain(self, first: int, table: int = 0) -> list[int]:
        found = []
        at = (self.reserved + table * self.fat) * self.sector
        while first < 0x0FFFFFF8:
            found.append(first)
            (first,) = struct.unpack_from("<I", self.data, at + 4 * first)
        return found

    def read(self, first: int) -> bytes:
        assert self.chain(first) == self.chain(first, 1)
        start, size = (self.reserved + self.tables * self.fat) * self.sector, self.per_cluster * self.sector
        return b"".join(self.data[start + (one - 2) * size :][:size] for one in self.chain(first))

    def files(self, first: int | None = None, above: str = "") -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        data, long = self.read(first or self.root), ""
        shorts = set()
        for at in range(0, len(data), 32):
            entry = data[at : at + 32]
            if not entry[0]:
                break
            if entry[11] == 0x0F:
                units = entry[1:11] + entry[14:26] + entry[28:32]
                piece = units.decode("utf-16-le").partition("\0")[0].rstrip("\uffff")
                long = piece + long
                continue
            if entry[11] == 0x08 or entry[:1] == b".":
                continue
            assert entry[:11] not in shorts
            shorts.add(entry[:11])
            stem, extension = entry[:8].decode().rstrip(), entry[8:11].decode().rstrip()
            name, long = long or (f"{stem}.{extension}" if extension else stem), ""
            high, low = struct.unpack_from("<H", entry, 20)[0], struct.unpack_from("<H", entry, 26)[0]
            (size,) = struct.unpack_from("<I", entry, 28)
            cluster = high << 16 | low
            if entry[11] & 0x10:
                found |= self.files(cluster, f"{above}{name}/")
            else:
                found[above + name] = self.read(cluster)[:size] if size else b""
        return found


def written(files: dict[str, bytes | Path], size: int | None = None) -> bytes:
    out = io.BytesIO()
    write_fat(out, files, size=size or fat_size(files), label="TEST", serial=7, hidden=0)
    return out.getvalue()


def test_files_come_back(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(bytes(range(256)) * 1000)
    files: dict[str, bytes | Path] = {
        "EFI/BOOT/BOOTX64.EFI": b"loader",
        "kernel": tmp_path / "k",
        "loader/entries/linux.conf": b"title x",
        "loader/loader.conf": b"",
        "A rather long name.with.dots": b"long",
        "a rather long name.with dots too": b"other",
        "ünïcode.txt": b"u",
    }
    found = Reader(written(files)).files()
    assert found == {path: one.read_bytes() if isinstance(one, Path) else one for path, one in files.items()}


def test_the_same_files_are_the_same_bytes() -> None:
    assert written({"a/b": b"x", "c": b"y"}) == written({"c": b"y", "a/b": b"x"})


def test_many_files_in_one_folder() -> None:
    files: dict[str, bytes | Path] = {
        f"folder/a long name of file {index}.txt": b"%d" % index for index in range(200)
    }
    assert Reader(written(files)).files() == files


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.text("abcXYZ019. _-", min_size=1, max_size=30).filter(lambda name: name.strip(". ")
    and name[-1] not in ". "), st.binary(max_size=2000), max_size=8))  # fmt: skip
def test_any_names(files: dict[str, bytes]) -> None:
    unique = {name.lower(): name for name in files}
    files = {name: files[name] for name in unique.values()}
    assert Reader(written(dict(files))).files() == files


def test_large_ones_have_large_clusters() -> None:
    assert shape_of(260 * MIB).per_cluster == 1
    assert shape_of(261 * MIB).per_cluster == 8
    for size in (35 * MIB, 260 * MIB, 261 * MIB, 4096 * MIB):
        shape = shape_of(size)
        assert shape.clusters >= 65525
        assert shape.fat * 512 // 4 >= shape.clusters + 2


def test_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        write_fat(io.BytesIO(), {}, size=8 * MIB, label="X", serial=0, hidden=0)
    with pytest.raises(ValueError, match="do not fit"):
        write_fat(io.BytesIO(), {"a": bytes(40 * MIB)}, size=35 * MIB, label="X", serial=0, hidden=0)
