# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import tarfile

import pytest

from cove.errors import ArchiveError
from cove.image.tar.header import DIRECTORY, NANO, SYMLINK, Header
from cove.image.tar.reader import read_tar
from cove.image.tar.writer import END, format_time, pack, padding

MOMENT = 1_492_533_000 * NANO


def archive(*headers: Header) -> bytes:
    return (
        b"".join(pack(header) + bytes(header.contents) + padding(header.contents) for header in headers) + END
    )


def test_a_short_plain_name_needs_no_extended_header() -> None:
    data = pack(Header(name="bin/sh", mode=0o755, size=3, mtime=MOMENT))
    assert len(data) == 512
    assert data[:8] == b"bin/sh\0\0"
    numbers = (b"0000755", b"0000000", b"0000000", b"00000000003", b"%011o" % 1_492_533_000)
    assert data[100:148] == b"".join(number + b"\0" for number in numbers)
    assert data[257:265] == b"ustar\x0000"
    assert data[329:345] == b"0000000\x00" * 2
    assert data[154:156] == b"\0 "


def test_records_are_sorted_and_count_themselves() -> None:
    data = pack(Header(name="a/b", records={"LINUXKIT.source": "x", "LINUXKIT.location": "init[0]"}))
    assert data[:20].rstrip(b"\0") == b"a/PaxHeaders.0/b"
    assert data[156:157] == b"x"
    assert data[512:].startswith(b"29 LINUXKIT.location=init[0]\n21 LINUXKIT.source=x\n\0")
    assert data[100:148].startswith(b"0000000\x00" * 3)
    assert data[329:345] == bytes(16)


@pytest.mark.parametrize("size", range(90, 112))
def test_a_record_near_a_power_of_ten_has_the_right_length(size: int) -> None:
    data = pack(Header(name="n", records={"k": "v" * size}))
    length = int(data[512:].split(b" ")[0])
    assert data[512 + length - 1 : 512 + length + 1] == b"\n\0"


@pytest.mark.parametrize(
    ("name", "main"),
    [
        ("x" * 101, b"x" * 100),
        ("d" * 99 + "/file", b"d" * 99),  # a slash at the cut would make a folder of it
        ("ünï/cödé", b"n/cd"),
    ],
)
def test_long_and_foreign_names_go_into_a_record(name: str, main: bytes) -> None:
    data = pack(Header(name=name))
    assert f"path={name}\n".encode() in data[512:1536]
    assert data[-512:][:100].rstrip(b"\0") == main
    with tarfile.open(fileobj=io.BytesIO(data + END)) as tar:
        assert tar.getnames() == [name]


def test_what_does_not_fit_goes_into_records() -> None:
    header = Header(
        name="n",
        uid=3_000_000,
        gid=1 << 31,
        size=9 << 30,
        mtime=-5 * NANO // 2,
        uname="u" * 33,
        atime=1,
        ctime=NANO,
    )
    with tarfile.open(fileobj=io.BytesIO(pack(header) + END)) as tar:
        info = tar.next()
    assert info is not None
    assert info.pax_headers == {
        "uid": "3000000", "gid": "2147483648", "size": "9663676416", "mtime": "-2.5", "uname": "u" * 33,
        "atime": "0.000000001", "ctime": "1",
    }  # fmt: skip


def test_a_record_that_says_what_the_header_says_is_kept() -> None:
    header = Header(
        name="n", mtime=MOMENT, records={"path": "n", "mtime": "1492533000", "uid": "5", "size": "9"}
    )
    assert [*_records(header)] == ["mtime", "path"]


def test_records_of_sparse_files_are_dropped_others_kept() -> None:
    header = Header(
        name="n", records={"GNU.sparse.size": "1", "SCHILY.xattr.user.a": "\udcff", "comment": ""}
    )
    assert _records(header) == {"SCHILY.xattr.user.a": "\udcff", "comment": ""}


def _records(header: Header) -> dict[str, str]:
    [(read, _)] = read_tar(io.BytesIO(archive(header)))
    return dict(read.records)


def test_folders_symlinks_and_padding_are_read_by_others() -> None:
    data = archive(
        Header(name="d", kind=DIRECTORY, mode=0o1777),
        Header(name="l", kind=SYMLINK, link="t" * 120),
        Header(name="f", size=513),
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {member.name: (member.type, member.linkname, member.size, member.mode) for member in tar}
    assert found == {
        "d": (b"5", "", 0, 0o1777),
        "l": (b"2", "t" * 120, 0, 0o644),
        "f": (b"0", "", 513, 0o644),
    }


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "0"),
        (NANO, "1"),
        (NANO // 2, "0.5"),
        (-NANO - 1, "-1.000000001"),
        (-NANO // 2, "-0.5"),
        (10 * NANO, "10"),
    ],
)
def test_times_have_as_many_decimals_as_needed(moment: int, text: str) -> None:
    assert format_time(moment) == text


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ArchiveError, match="NUL"):
        pack(Header(name="a\0b" + "c" * 100))
    with pytest.raises(ArchiveError, match="extended attributes"):
        pack(Header(name="a", records={"k": "v" * (2 << 20)}))
