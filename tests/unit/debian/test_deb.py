# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import lzma
import shutil
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove.debian import deb as module
from cove.debian.deb import Deb, XzReader, clean_name
from cove.errors import ArchiveError

from .world import PACKERS, make_deb, member, pack_ar, pack_tar

CONTROL = "Package: x\nVersion: 1\nArchitecture: all\nDescription: short\n long\n"
DIR, SYM, LNK = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def _deb(folder: Path, *members: tuple[tarfile.TarInfo, bytes], packer: str = ".xz") -> Deb:
    path = folder / "x_1_all.deb"
    path.write_bytes(make_deb(CONTROL, list(members), packer=packer, postinst=b"#!/bin/sh\n"))
    return Deb(path)


def _names(deb: Deb) -> list[str]:
    return [info.name for info, _ in deb.members()]


@pytest.mark.parametrize("packer", list(PACKERS))
def test_every_packing(tmp_path: Path, packer: str) -> None:
    body = bytes(range(256)) * 2000
    deb = _deb(tmp_path, (member("./", DIR), b""), (member("./usr/bin/x"), body), packer=packer)
    assert deb.control["Package"] == "x"
    assert deb.scripts["postinst"] == b"#!/bin/sh\n"
    (found,) = [(info.name, stream.read() if stream else None) for info, stream in deb.members()]
    assert found == ("usr/bin/x", body)


def test_links(tmp_path: Path) -> None:
    deb = _deb(
        tmp_path, (member("./usr/a"), b"a"), (member("./usr/b", LNK, link="./usr/a"), b""),
        (member("./usr/c", SYM, link="../usr/a"), b""), (member("./d", SYM, link="/dev/null"), b""),
    )  # fmt: skip
    assert [info.linkname for info, _ in deb.members()] == ["", "usr/a", "../usr/a", "/dev/null"]


@pytest.mark.parametrize(
    "bad",
    [
        member("../x"), member("./a/../../x"), member("/etc/x"), member("a/..", DIR),
        member("x", LNK, link="../../etc/passwd"), member("x", LNK, link="/etc/passwd"),
        member("x", SYM, link="../y"), member("a/x", SYM, link="../../y"), member("x", SYM, link="/../y"),
        member("a/x", SYM, link="b/../../../y"), member("x", tarfile.CHRTYPE), member("x", tarfile.BLKTYPE),
        member("x", tarfile.FIFOTYPE), member("./", SYM, link="usr"),
    ],
    ids=lambda info: f"{info.name}->{info.linkname}",
)  # fmt: skip
def test_escapes_and_devices_are_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    deb = _deb(tmp_path, (member("./ok"), b""), (bad, b""))
    with pytest.raises(ArchiveError, match=r"x_1_all\.deb"):
        _names(deb)


@given(st.text(alphabet="ab./", max_size=12))
def test_clean_names_stay_inside(name: str) -> None:
    try:
        clean = clean_name(name, "x.deb")
    except ArchiveError:
        assert name.startswith("/") or ".." in name
    else:
        assert not clean.startswith("/")
        assert not {"", ".", ".."} & set(clean.split("/")) or clean == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200), st.integers(0, 700))
def test_damage_is_an_archive_error(tmp_path: Path, junk: bytes, place: int) -> None:
    good = make_deb(CONTROL, [(member("./usr/x"), b"x" * 1000)], packer=".gz")
    path = tmp_path / "broken.deb"
    path.write_bytes(good[:place] + junk + good[place + len(junk) :])
    for use in (lambda: Deb(path).control, lambda: _names(Deb(path))):
        with suppress(ArchiveError):  # damage may go unseen here, digests find it; nothing else may be raised
            use()


@pytest.mark.parametrize("packer", list(PACKERS))
def test_cut_short(tmp_path: Path, packer: str) -> None:
    whole = make_deb(CONTROL, [(member("./usr/x"), bytes(range(256)) * 40)], packer=packer)
    path = tmp_path / "cut.deb"
    for end in (0, 5, 60, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:end])
        with pytest.raises(ArchiveError):
            _names(Deb(path))


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RATIO_FREE", 1 << 20)
    monkeypatch.setattr(module, "MAX_RATIO", 10)
    deb = _deb(tmp_path, (member("./zeros"), bytes(8 << 20)))
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        _names(deb)


def test_a_flood_of_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MEMBERS", 5)
    with pytest.raises(ArchiveError, match="more than 5 members"):
        _names(_deb(tmp_path, *((member(f"./{n}"), b"") for n in range(9))))


def test_a_huge_pax_header(tmp_path: Path) -> None:
    info = member("x")
    info.pax_headers = {"comment": "x" * (2 << 20)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    path = tmp_path / "pax.deb"
    path.write_bytes(pack_ar({"data.tar": out.getvalue()}))
    with pytest.raises(ArchiveError, match="oversized header"):
        _names(Deb(path))


def test_a_sparse_file(tmp_path: Path) -> None:
    info = member("x")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 50)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    path = tmp_path / "sparse.deb"
    path.write_bytes(pack_ar({"data.tar": out.getvalue()}))
    with pytest.raises(ArchiveError, match="sparse"):
        _names(Deb(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello", "not a Debian package"),
        (pack_ar({"debian-binary": b"2.0\n"}), r"has no control\.tar"),
        (pack_ar({"control.tar.lzma": b""}), "unknown way"),
        (pack_ar({"control.tar": pack_tar([])}), "no control paragraph"),
    ],
)
def test_not_a_deb(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "no.deb"
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=message):
        _ = Deb(path).control


def test_xz_in_several_streams() -> None:
    two = lzma.compress(b"one ") + b"\0\0\0\0" + lzma.compress(b"two")
    assert XzReader(io.BytesIO(two)).read() == b"one two"


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb here to compare with")
@pytest.mark.parametrize("packer", ["xz", "gzip", "none"])
def test_what_dpkg_deb_builds(tmp_path: Path, packer: str) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: y\nVersion: 1\nArchitecture: all\nMaintainer: m\nDescription: d\n"
    )
    (tree / "usr").mkdir()
    (tree / "usr" / ("long" * 40)).write_text("hello")
    out = tmp_path / "y.deb"
    subprocess.run(["dpkg-deb", f"-Z{packer}", "-b", tree, out], check=True, capture_output=True)
    assert Deb(out).control["Description"] == "d"
    assert _names(Deb(out)) == ["usr", "usr/" + "long" * 40]
