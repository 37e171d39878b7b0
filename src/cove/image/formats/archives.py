# SPDX-License-Identifier: Apache-2.0
"""The formats kernel+initrd and tar-kernel-initrd."""

from __future__ import annotations

import shutil
from pathlib import Path

from cove.image.entries import MTIME
from cove.image.formats.parts import Parts
from cove.image.sinks import TarSink
from cove.image.tar.header import NANO, Header

Made = list[tuple[Path, str]]
"""Files in the scratch folder, each with what its name ends in at its final place."""

_COPY = 1 << 20


def kernel_and_cmdline(parts: Parts) -> Made:
    """Kernel and command line, as far as there are any."""
    named = ((parts.kernel, "-kernel"), (parts.cmdline, "-cmdline"))
    return [(path, suffix) for path, suffix in named if path.stat().st_size]


def with_ucode(parts: Parts) -> Path:
    """The initramfs behind the microcode, which the kernel wants first and uncompressed."""
    if not parts.ucode.stat().st_size:
        return parts.initrd
    path = parts.folder / "initrd-with-ucode"
    if not path.exists():
        with path.open("wb") as out:
            for part in (parts.ucode, parts.initrd):
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, out, _COPY)
    return path


def kernel_initrd(parts: Parts) -> Made:
    """kernel+initrd."""
    return [(with_ucode(parts), "-initrd.img"), *kernel_and_cmdline(parts)]


def initrd_tar(parts: Parts) -> Made:
    """tar-kernel-initrd."""
    path = parts.folder / "initrd.tar"
    with path.open("wb") as out:
        sink = TarSink(out)
        named = (("kernel", parts.kernel), ("initrd.img", parts.initrd), ("cmdline", parts.cmdline))
        for name, part in (*named, ("ucode.cpio", parts.ucode)):
            if size := part.stat().st_size:
                sink.begin(Header(name=name, size=size, mtime=MTIME * NANO))
                with part.open("rb") as stream:
                    while chunk := stream.read(_COPY):
                        sink.write(chunk)
        sink.end()
    return [(path, "-initrd.tar")]
