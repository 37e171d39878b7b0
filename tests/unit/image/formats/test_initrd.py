# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from cove.errors import ArchiveError
from cove.image.formats.boot import CMDLINE, KERNEL, BootSplitter
from cove.image.formats.initrd import InitrdSink
from cove.image.tar.header import CHARACTER, DIRECTORY, LINK, NANO, SYMLINK, Header


def packed(*files: tuple[Header, bytes]) -> tuple[bytes, bytes, bytes]:
    out, kernel, cmdline = io.BytesIO(), io.BytesIO(), io.BytesIO()
    sink = BootSplitter({KERNEL: kernel, CMDLINE: cmdline}, [InitrdSink(out)])
    for header, data in files:
        sink.begin(header)
        for at in range(0, len(data), 3):
            sink.write(data[at : at + 3])
    sink.end()
    return out.getvalue(), kernel.getvalue(), cmdline.getvalue()


def file(name: str, data: bytes) -> tuple[Header, bytes]:
    return Header(name=name, size=len(data), mtime=5 * NANO), data


def test_headers_are_linuxkits() -> None:
    archive, _, _ = packed(file("a", b"12345"))
    fields = [int(archive[at : at + 8], 16) for at in range(6, 110, 8)]
    assert archive[:6] == b"070701"
    assert fields == [721, 0o100644, 0, 0, 1, 5, 5, 3, 1, 0, 0, 2, 0]
    assert archive[110:112] == b"a\0"
    assert archive[112:120] == b"12345\0\0\0"
    assert b"TRAILER!!!" in archive
    assert len(archive) % 512 == 0


def test_boot_is_split_off_and_the_last_one_counts() -> None:
    archive, kernel, cmdline = packed(
        (Header(name="boot", kind=DIRECTORY, mode=0o755), b""),
        file(KERNEL, b"first one"),
        file(KERNEL, b"second"),
        file(CMDLINE, b"quiet"),
        file("boot/System.map", b"not wanted"),
    )
    assert (kernel, cmdline) == (b"second", b"quiet")
    assert b"not wanted" not in archive
    assert archive.count(b"070701") == 2


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed here")
def test_cpio_unpacks_it(tmp_path: Path) -> None:
    archive, _, _ = packed(
        (Header(name="d/", kind=DIRECTORY, mode=0o755), b""),
        file("d/f", b"hello"),
        (Header(name="d/hard", kind=LINK, link="./d/f"), b""),
        (Header(name="soft", kind=SYMLINK, link="d/f"), b""),
        file("empty", b""),
    )
    subprocess.run(["cpio", "-i", "--quiet"], input=archive, cwd=tmp_path, check=True, timeout=30)
    assert (tmp_path / "soft").read_bytes() == (tmp_path / "d/hard").read_bytes() == b"hello"
    assert (tmp_path / "d/hard").readlink() == Path("f")
    assert (tmp_path / "empty").read_bytes() == b""


def test_devices_keep_their_numbers() -> None:
    archive, _, _ = packed((Header(name="n", kind=CHARACTER, mode=0o666, major=1, minor=3), b""))
    assert int(archive[14:22], 16) == 0o020666
    assert archive[6 + 8 * 9 : 6 + 8 * 11] == b"0000000100000003"


def test_unknown_types_are_refused() -> None:
    with pytest.raises(ArchiveError, match="cannot be in an initramfs"):
        packed((Header(name="x", kind="Z"), b""))
