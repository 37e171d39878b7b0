# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from pathlib import Path

import pytest

from cove.errors import ArchiveError
from cove.image.entries import MTIME
from cove.image.formats.fold import fold_tar
from cove.image.sinks import TarSink
from cove.image.tar.header import CHARACTER, DIRECTORY, LINK, NANO, SYMLINK, Header
from cove.image.tar.reader import read_tar

Entry = tuple[Header, bytes]


def file(name: str, data: bytes = b"", **more: object) -> Entry:
    return Header(name=name, size=len(data), **more), data  # type: ignore[arg-type]


def folder(name: str, mode: int = 0o755) -> Entry:
    return Header(name=name, kind=DIRECTORY, mode=mode), b""


def link(name: str, target: str, kind: str = SYMLINK) -> Entry:
    return Header(name=name, kind=kind, link=target), b""


def fold(tmp_path: Path, *entries: Entry) -> list[Entry]:
    with (tmp_path / "in").open("wb") as out:
        sink = TarSink(out)
        for header, data in entries:
            sink.begin(header)
            sink.write(data)
        sink.end()
    fold_tar(tmp_path / "in", tmp_path / "out")
    stream = io.BytesIO((tmp_path / "out").read_bytes())
    return [(header, b"".join(data.chunks())) for header, data in read_tar(stream)]


def test_the_last_one_counts_and_folders_come_first(tmp_path: Path) -> None:
    made = fold(
        tmp_path,
        file("d/f", b"old"),
        folder("d", 0o700),
        file("z", b"z"),
        file("./d/f", b"new"),
        folder("d/", 0o711),
    )
    assert [(header.name, header.mode, data) for header, data in made] == [
        ("d", 0o711, b""), ("d/f", 0o644, b"new"), ("z", 0o644, b"z"),
    ]  # fmt: skip


def test_folders_that_nobody_names_are_roots(tmp_path: Path) -> None:
    [(made, _), _, _] = fold(tmp_path, file("a/b/c"))
    assert (made.name, made.mode, made.uid, made.mtime) == ("a", 0o755, 0, MTIME * NANO)


def test_what_lies_below_a_symlink_goes_where_it_leads(tmp_path: Path) -> None:
    made = fold(
        tmp_path,
        folder("usr/lib"),
        link("lib", "usr/lib"),
        file("lib/x", b"1"),
        link("v", "/lib"),
        file("v/y"),
    )
    assert {"usr/lib/x", "usr/lib/y"} <= {header.name for header, _ in made}
    assert [header.kind for header, _ in made if header.name == "lib"] == [SYMLINK]
    with pytest.raises(ArchiveError, match="circle"):
        fold(tmp_path, link("a", "b"), link("b", "a"), file("a/x"))


def test_a_file_replaces_a_folder_with_all_below_it(tmp_path: Path) -> None:
    assert [h.name for h, _ in fold(tmp_path, folder("d"), file("d/x"), file("d", b"f"))] == ["d"]


def test_hard_links_come_last_and_lead_somewhere(tmp_path: Path) -> None:
    made = fold(tmp_path, file("z/f", b"1"), link("a", "./z/f", LINK))
    assert [(h.name, h.kind, h.link) for h, _ in made][-1] == ("a", LINK, "z/f")
    with pytest.raises(ArchiveError, match="not in the image"):
        fold(tmp_path, link("a", "gone", LINK))


def test_only_what_a_file_system_keeps_is_left(tmp_path: Path) -> None:
    records = {"LINUXKIT.source": "x", "SCHILY.xattr.user.a": "1"}
    entry = Header(name="f", uname="me", mtime=3 * NANO // 2, atime=5, records=records)
    device = Header(name="n", kind=CHARACTER, major=1, minor=3)
    made = {header.name: header for header, _ in fold(tmp_path, (entry, b""), (device, b""))}
    assert dict(made["f"].records) == {"SCHILY.xattr.user.a": "1"}
    assert (made["f"].uname, made["f"].mtime, made["f"].atime) == ("", NANO, None)
    assert (made["n"].major, made["n"].minor) == (1, 3)
