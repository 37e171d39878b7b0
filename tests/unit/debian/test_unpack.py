# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cove.debian.unpack import extract
from cove.errors import ArchiveError

from .world import make_deb, member

DIR, SYM, LNK = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
Unpack = Callable[..., Path]


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    """Extract packages, one argument each, one after the other into tmp_path/root."""

    def do(*packages: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
        root = tmp_path / "root"
        for number, members in enumerate(packages):
            path = tmp_path / f"p{number}.deb"
            path.write_bytes(make_deb(f"Package: p{number}\n", members, packer=".gz"))
            extract(path, root)
        return root

    return do


def test_contents_modes_times_links(unpack: Unpack) -> None:
    root = unpack(
        [
            (member("./usr/bin", DIR, mode=0o755), b""),
            (member("./usr/bin/x", mode=0o755), b"program"),
            (member("./usr/bin/y", LNK, link="./usr/bin/x"), b""),
            (member("./usr/bin/z", SYM, link="x"), b""),
            (member("./etc/secret", mode=0o600), b""),
            (member("./usr/bin/su", mode=0o4755), b""),
        ]
    )
    program = root / "usr/bin/x"
    assert program.read_bytes() == b"program"
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert program.stat().st_mtime == 1_700_000_000
    assert program.stat().st_uid == os.getuid()
    assert (root / "usr/bin/y").samefile(program)
    assert (root / "usr/bin/z").readlink() == Path("x")
    assert stat.S_IMODE((root / "etc/secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "usr/bin/su").stat().st_mode) & 0o777 == 0o755


def test_a_read_only_folder_can_be_filled(unpack: Unpack) -> None:
    root = unpack([(member("./a", DIR, mode=0o555), b""), (member("./a/b"), b"")], [(member("./a/c"), b"")])
    assert sorted(path.name for path in (root / "a").iterdir()) == ["b", "c"]


def test_merged_usr(unpack: Unpack) -> None:
    root = unpack(
        [(member("./usr/bin", DIR, mode=0o755), b""), (member("./bin", SYM, link="usr/bin"), b"")],
        [(member("./bin", DIR, mode=0o755), b""), (member("./bin/sh", mode=0o755), b"sh")],
    )
    assert (root / "bin").is_symlink()
    assert (root / "usr/bin/sh").read_bytes() == b"sh"


def test_absolute_symlinks_mean_the_inner_root(unpack: Unpack, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = unpack([(member("./var/run", SYM, link=str(outside)), b"")], [(member("./var/run/pid"), b"1")])
    assert list(outside.iterdir()) == []
    assert (root / str(outside).lstrip("/") / "pid").read_bytes() == b"1"


def test_links_planted_before_do_not_lead_outside(unpack: Unpack, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("safe")
    root = tmp_path / "root"
    root.mkdir()
    (root / "up").symlink_to("../../../../..")
    (root / "file").symlink_to(outside)
    unpack([(member("./up/x"), b"evil"), (member("./file"), b"evil")])
    assert outside.read_text() == "safe"
    assert (root / "x").read_bytes() == b"evil"
    assert (root / "file").read_bytes() == b"evil"
    assert not (root / "file").is_symlink()


def test_a_link_within_one_package_does_not_lead_outside(unpack: Unpack, tmp_path: Path) -> None:
    root = unpack([(member("./a", SYM, link="/"), b""), (member("./a/etc/x"), b"inner")])
    assert (root / "etc/x").read_bytes() == b"inner"
    assert not Path("/etc/x").exists()


def test_a_circle_of_links(unpack: Unpack) -> None:
    with pytest.raises(ArchiveError, match="circle"):
        unpack(
            [(member("./a", SYM, link="b"), b""), (member("./b", SYM, link="a"), b""), (member("./a/x"), b"")]
        )


def test_a_file_is_replaced_not_written_through(unpack: Unpack, tmp_path: Path) -> None:
    root = unpack([(member("./a"), b"old")])
    os.link(root / "a", tmp_path / "kept")
    unpack([(member("./a"), b"new")])
    assert (root / "a").read_bytes() == b"new"
    assert (tmp_path / "kept").read_bytes() == b"old"


def test_hard_links_follow_merged_folders_not_links(unpack: Unpack, tmp_path: Path) -> None:
    root = unpack(
        [(member("./usr/bin/x"), b"x"), (member("./bin", SYM, link="usr/bin"), b"")],
        [(member("./bin/y", LNK, link="bin/x"), b"")],
    )
    assert (root / "usr/bin/y").samefile(root / "usr/bin/x")


def test_a_hard_link_to_nothing(unpack: Unpack) -> None:
    with pytest.raises(ArchiveError, match="does not hold"):
        unpack([(member("./y", LNK, link="x"), b"")])


def test_files_and_folders_do_not_replace_each_other(unpack: Unpack) -> None:
    with pytest.raises(ArchiveError, match="another package has a file"):
        unpack([(member("./a"), b"")], [(member("./a/b"), b"")])
    with pytest.raises(ArchiveError, match="another package has a folder"):
        unpack([(member("./c/b"), b"")], [(member("./c"), b"")])


def test_an_empty_folder_gives_way(unpack: Unpack) -> None:
    root = unpack([(member("./c", DIR), b"")], [(member("./c"), b"file")])
    assert (root / "c").read_bytes() == b"file"
