# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import ArchiveError
from cove.image.tar.header import NANO, Header
from cove.image.tar.reader import parse_records, parse_time, read_tar


def read(data: bytes) -> list[tuple[Header, bytes]]:
    return [(header, b"".join(contents.chunks())) for header, contents in read_tar(io.BytesIO(data))]


def written(form: int, **fields: Any) -> bytes:
    out = io.BytesIO()
    info = tarfile.TarInfo(fields.pop("name", "a"))
    for key, value in fields.items():
        setattr(info, key, value)
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as tar:
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_forms_say_the_same(form: int) -> None:
    data = written(
        form,
        name="d" * 60 + "/" + "x" * 90,
        uid=7,
        gid=8,
        mode=0o4755,
        size=700,
        mtime=9,
        uname="me",
        gname="us",
    )
    [(header, contents)] = read(data)
    assert header.name == "d" * 60 + "/" + "x" * 90
    assert (header.uid, header.gid, header.mode, header.mtime) == (7, 8, 0o4755, 9 * NANO)
    assert (header.uname, header.gname, contents) == ("me", "us", bytes(700))


def test_names_that_are_not_utf8_survive() -> None:
    [(header, _)] = read(written(tarfile.GNU_FORMAT, name="caf\udce9"))
    assert header.name == "caf\udce9"


def test_big_numbers_of_gnu() -> None:
    [(header, _)] = read(written(tarfile.GNU_FORMAT, uid=1 << 31, mtime=-1))
    assert (header.uid, header.mtime) == (1 << 31, -NANO)


def test_pax_records_are_kept_and_count() -> None:
    records = {"mtime": "1.5", "SCHILY.xattr.security.capability": "\x01\udc80x", "path": "./long"}
    [(header, _)] = read(written(tarfile.PAX_FORMAT, pax_headers=records))
    assert header.mtime == 3 * NANO // 2
    assert header.name == "./long"
    assert header.records["SCHILY.xattr.security.capability"] == "\x01\udc80x"


def test_an_empty_record_says_nothing() -> None:
    [(header, _)] = read(written(tarfile.PAX_FORMAT, uname="me", pax_headers={"uname": ""}))
    assert header.uname == "me"
    assert header.records["uname"] == ""


def test_a_global_header_is_passed_over() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}) as tar:
        tar.addfile(tarfile.TarInfo("a"))
    assert [header.name for header, _ in read(out.getvalue())] == ["a"]


def test_old_folders_end_in_a_slash() -> None:
    data = bytearray(written(tarfile.USTAR_FORMAT, name="d/"))
    data[156] = 0
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    [(header, _)] = read(bytes(data))
    assert header.kind == "5"


@pytest.mark.skipif(shutil.which("tar") is None, reason="tar is not installed here")
@pytest.mark.parametrize("form", [["--format=gnu"], ["--format=pax", "--sparse-version=0.0"],
                                  ["--format=pax", "--sparse-version=0.1"], ["--format=pax", "--sparse-version=1.0"]],
                         ids="".join)  # fmt: skip
@pytest.mark.parametrize("extents", [1, 30])
def test_sparse_files_are_read_as_what_they_stand_for(tmp_path: Path, form: list[str], extents: int) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as out:
        for number in range(1, extents + 1):
            out.seek(number * 300_000)
            out.write(b"data%d" % number)
        out.truncate((extents + 1) * 300_000)
    done = subprocess.run(
        ["tar", "-cS", *form, "-C", tmp_path, "sparse"], capture_output=True, check=True, timeout=30
    )
    [(header, contents)] = read(done.stdout)
    assert (header.name, header.kind, header.size) == ("sparse", "0", path.stat().st_size)
    assert contents == path.read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 512,
        b"x" * 100,
        written(tarfile.USTAR_FORMAT, size=1000)[:1000],
        bytes(512) + b"x" * 512,
        written(tarfile.PAX_FORMAT, pax_headers={"size": "x"}),
        written(tarfile.PAX_FORMAT, pax_headers={"size": "-1"}),
    ],
    ids=["noise", "short", "cut", "zeros", "size", "negative"],
)
def test_damaged_archives_are_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        read(data)


@pytest.mark.parametrize(
    "data", [b"x", b"5 a=\n6", b"9 a=b\n", b"6 a=bx", b"3 =", b"99999999999999999999 a=b\n"]
)
def test_malformed_records_are_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        parse_records(data)


@given(st.binary(max_size=2048))
def test_noise_is_an_archive_error_or_nothing(data: bytes) -> None:
    with contextlib.suppress(ArchiveError):
        read(data)


def test_times() -> None:
    assert parse_time("-1.5") == -3 * NANO // 2
    assert parse_time("1.0000000019") == NANO + 1
    with pytest.raises(ValueError, match="invalid"):
        parse_time("x")
