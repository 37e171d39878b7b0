# SPDX-License-Identifier: Apache-2.0
"""Unpacking into scratch files and writing tars."""

from __future__ import annotations

import hashlib
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from cove.errors import ArchiveError
from cove.image.entries import Entry, EntryKind, Piece, directory, file, symlink
from cove.image.spool import sweep, unpack, unpack_all, write_tar

from .parts import deb, read_tar


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_unpacking(tmp_path: Path) -> None:
    package = put(
        tmp_path / "p.deb", deb("p", {"usr/": "", "usr/bin/x": b"one", "usr/l": "->bin/x", "usr/e": b""})
    )
    found = {one.path: one for one in unpack("p", package, tmp_path / "spool")}
    assert list(found) == ["usr", "usr/bin/x", "usr/l", "usr/e"]
    assert found["usr/bin/x"].read() == b"one"
    assert (found["usr/bin/x"].mode, found["usr/bin/x"].mtime) == (0o755, 1_700_000_000)
    assert found["usr/l"].target == "bin/x"
    assert found["usr/e"].read() == b""
    assert found["usr"].kind is EntryKind.DIRECTORY


def test_hard_links_survive_sorting_and_lost_targets(tmp_path: Path) -> None:
    package = put(tmp_path / "p.deb", deb("p", {"z": b"same", "a": "=z", "m": "=z"}))
    entries = {one.path: one for one in unpack_all({"p": package}, tmp_path)["p"]}
    write_tar([entries[name] for name in "amz"], tmp_path / "all.tar")
    found = read_tar(tmp_path / "all.tar")
    assert found["a"].isreg()
    assert [found[name].linkname for name in "mz"] == ["a", "a"]
    write_tar([entries["m"]], tmp_path / "one.tar")
    assert read_tar(tmp_path / "one.tar")["m"].size == 4


def test_a_link_to_nothing(tmp_path: Path) -> None:
    package = put(tmp_path / "p.deb", deb("p", {"a": "=elsewhere"}))
    with pytest.raises(ArchiveError, match="p links to a file that it does not hold"):
        unpack_all({"p": package}, tmp_path)


def test_a_tar_is_the_same_every_time_and_its_digest_true(tmp_path: Path) -> None:
    entries = [directory("d", 0o1777), replace(file("d/x", "x" * 5000), uid=70000), symlink("l", "d/x" * 50)]
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    written = write_tar(entries, first)
    assert write_tar(entries, second) == written
    assert written.sha256 == hashlib.sha256(first.read_bytes()).hexdigest()
    assert written.size == first.stat().st_size
    found = read_tar(first)
    assert (found["d"].mode, found["d/x"].uid, found["l"].linkname) == (0o1777, 70000, "d/x" * 50)
    assert {info.mtime for info in found.values()} == {1492533000}


def test_memory_stays_flat(tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as stream:
        stream.truncate(200 << 20)
    entries = [
        Entry(
            path=f"f{i}", kind=EntryKind.FILE, mode=0o644, contents=Piece(file=big, offset=0, size=20 << 20)
        )
        for i in range(10)
    ]
    tracemalloc.start()
    try:
        write_tar(entries, tmp_path / "big.tar")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_sweeping_takes_what_killed_builds_left(tmp_path: Path) -> None:
    for name in (".scratch.ab", ".id.cd", "kept"):
        (tmp_path / name).mkdir()
    (tmp_path / ".lock").write_text("")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "kept"]


def test_a_damaged_package(tmp_path: Path) -> None:
    package = put(tmp_path / "p.deb", deb("p", {"x": b"1"})[:-700])
    with pytest.raises((ArchiveError, tarfile.TarError)) as caught:
        unpack_all({"p": package}, tmp_path)
    assert caught.type is ArchiveError
