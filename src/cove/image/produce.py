# SPDX-License-Identifier: Apache-2.0
"""Build an image from a configuration into files of one or more formats. The package's door for ``cove build``."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cove.errors import NotFoundError, UsageError
from cove.events import Report, stage
from cove.image.entries import MTIME
from cove.image.formats import disks
from cove.image.formats.disks import Tools
from cove.image.formats.dockerfile import add_dockerfile
from cove.image.formats.gzips import GzipWriter
from cove.image.formats.initrd import CMDLINE, KERNEL, UCODE, BootSplitter, InitrdSink
from cove.image.formats.names import Format
from cove.image.linuxkit.assemble import Prepared, assemble, prepare
from cove.image.linuxkit.config import Config
from cove.image.oci.model import ImageSource, Platform
from cove.image.sinks import TarSink
from cove.image.tar.header import NANO, Header
from cove.system.files import storage_errors

STDOUT = "-"
_SCRATCH = ".cove-build."
_COPY = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be built.

    Args:
        config: the configuration.
        platform: for which.
        formats: as what; a streamed one alone.
        folder: where the files go.
        name: what they begin with.
        output: the file of a streamed format, :data:`STDOUT` for stdout; "" for one in ``folder``.
        base: the folder that ``files: source`` is relative to.
        decompress_kernel: take the kernel out of its compression.
        size: bytes that a disk is to have; 0 is as few as possible.
        tools: programs for the formats that need some.
    """

    config: Config
    platform: Platform
    formats: Sequence[Format]
    folder: Path
    name: str
    output: str = ""
    base: Path = Path()
    decompress_kernel: bool = False
    size: int = 0
    tools: Tools | None = None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What formats are made of; files that are not there are empty.

    Args:
        kernel: the kernel.
        cmdline: its command line.
        ucode: microcode.
        initrd: the compressed initramfs, without the microcode.
    """

    kernel: Path
    cmdline: Path
    ucode: Path
    initrd: Path


def produce(order: Order, sources: Sequence[ImageSource], report: Report) -> list[Path]:
    """Build.

    Args:
        order: what.
        sources: where images are looked for, in this order.
        report: told of the stages.

    Returns:
        the files that were written; none for stdout.

    Raises:
        UsageError: configuration, labels or settings are wrong.
        NotFoundError: an image, the kernel in it, or a file is missing.
        IntegrityError, ArchiveError: an image is damaged.
        StorageError: the disk is full, or the folder cannot be written.

    After an error nothing was written, but on stdout.
    """
    with stage(report, "images", "Finding the images"):
        prepared = prepare(order.config, sources, order.platform)
    if order.output == STDOUT:
        _stream(prepared, order, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return []
    with _scratch(order) as scratch, stage(report, "build", "Building the image"):
        made = (
            _streamed(prepared, order, scratch)
            if order.formats[0].streamed
            else _parts(prepared, order, scratch)
        )
        return [_move(path, target) for path, target in made]


@contextmanager
def _scratch(order: Order) -> Iterator[Path]:
    """A folder beside the results, so that they only have to be renamed."""
    folder = Path(order.output).parent if order.output else order.folder
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", hint="Make it first, or name another with --dir.")
    with (
        storage_errors(f"writing to {folder}"),
        tempfile.TemporaryDirectory(dir=folder, prefix=_SCRATCH) as name,
    ):
        yield Path(name)


def _move(path: Path, target: Path) -> Path:
    if target.is_dir():
        raise UsageError(f"{target} is a folder", hint="Give another --name or -o.")
    path.replace(target)
    return target


def _stream(prepared: Prepared, order: Order, out: BinaryIO) -> None:
    docker = order.formats[0].name == "docker"
    assemble(
        prepared,
        TarSink(out),
        base=order.base,
        decompress_kernel=order.decompress_kernel,
        more=add_dockerfile if docker else None,
    )


def _streamed(prepared: Prepared, order: Order, scratch: Path) -> list[tuple[Path, Path]]:
    path = scratch / "stream"
    with path.open("wb") as out:
        _stream(prepared, order, out)
    target = Path(order.output) if order.output else order.folder / (order.name + order.formats[0].files[0])
    return [(path, target)]


def _parts(prepared: Prepared, order: Order, scratch: Path) -> list[tuple[Path, Path]]:
    parts = Parts(**{name: scratch / name for name in ("kernel", "cmdline", "ucode", "initrd")})
    with ExitStack() as stack:
        boot = {
            name: stack.enter_context(path.open("wb"))
            for name, path in ((KERNEL, parts.kernel), (CMDLINE, parts.cmdline), (UCODE, parts.ucode))
        }
        packer = GzipWriter(stack.enter_context(parts.initrd.open("wb")))
        stack.callback(packer.abandon)
        sink = InitrdSink(packer, BootSplitter(dict(boot)))
        assemble(prepared, sink, base=order.base, decompress_kernel=order.decompress_kernel)
        packer.finish()
    made: list[tuple[Path, Path]] = []
    for one in order.formats:
        base = order.folder / order.name
        if one.name == "kernel+initrd":
            made += _kernel_initrd(parts, base)
        elif one.name == "tar-kernel-initrd":
            made += _initrd_tar(parts, base, scratch)
        else:
            made.append(_disk(one, parts, order, scratch))
    return made


def _disk(one: Format, parts: Parts, order: Order, scratch: Path) -> tuple[Path, Path]:
    if order.tools is None or not parts.kernel.stat().st_size:
        raise UsageError(f"the format {one.name} needs a kernel, and the configuration has none")
    boot = disks.Parts(
        kernel=parts.kernel,
        initrd=_with_ucode(parts),
        cmdline=parts.cmdline.read_text(),
        size=order.size,
        architecture=order.platform.architecture,
    )
    path = scratch / f"image{one.files[0]}"
    disks.WRITERS[one.name](boot, path, order.tools)
    return path, Path(f"{order.folder / order.name}{one.files[0]}")


def _kernel_initrd(parts: Parts, base: Path) -> list[tuple[Path, Path]]:
    made = [(_with_ucode(parts), Path(f"{base}-initrd.img"))]
    for name, path in (("kernel", parts.kernel), ("cmdline", parts.cmdline)):
        if path.stat().st_size:
            made.append((path, Path(f"{base}-{name}")))
    return made


def _with_ucode(parts: Parts) -> Path:
    """The initramfs as it is booted: the microcode, uncompressed, comes first."""
    if not parts.ucode.stat().st_size:
        return parts.initrd
    initrd = parts.initrd.with_name("initrd-with-ucode")
    if not initrd.exists():
        with initrd.open("wb") as out:
            for path in (parts.ucode, parts.initrd):
                with path.open("rb") as stream:
                    shutil.copyfileobj(stream, out, _COPY)
    return initrd


def _initrd_tar(parts: Parts, base: Path, scratch: Path) -> list[tuple[Path, Path]]:
    path = scratch / "initrd.tar"
    with path.open("wb") as out:
        sink = TarSink(out)
        for name, part in (
            ("kernel", parts.kernel),
            ("initrd.img", parts.initrd),
            ("cmdline", parts.cmdline),
            ("ucode.cpio", parts.ucode),
        ):
            if size := part.stat().st_size:
                sink.begin(Header(name=name, size=size, mtime=MTIME * NANO))
                with part.open("rb") as stream:
                    while chunk := stream.read(_COPY):
                        sink.write(chunk)
        sink.end()
    return [(path, Path(f"{base}-initrd.tar"))]
