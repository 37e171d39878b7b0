# SPDX-License-Identifier: Apache-2.0
"""Build an image from a configuration into files of one or more formats. The package's door for ``cove build``."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cove.debian.archive import Archive
from cove.errors import NotFoundError, UsageError
from cove.events import Report, stage
from cove.image.entries import MTIME
from cove.image.formats import disks
from cove.image.formats.archives import Made, initrd_tar, kernel_initrd, with_ucode
from cove.image.formats.disks import Tools
from cove.image.formats.dockerfile import add_dockerfile
from cove.image.formats.filesystems import kernel_erofs, kernel_squashfs
from cove.image.formats.names import Format, Needs
from cove.image.formats.parts import Parts, collect
from cove.image.linuxkit.assemble import Prepared, assemble, prepare
from cove.image.linuxkit.config import Config
from cove.image.linuxkit.contents import all_components
from cove.image.linuxkit.debian import Unpacked, first_stage, unpack_packages
from cove.image.linuxkit.files import source_artifacts
from cove.image.linuxkit.output import Seen
from cove.image.oci.model import ImageSource, Platform
from cove.image.sbom.component import Component
from cove.image.sbom.provenance import Artifact, statement
from cove.image.sbom.spdx import CREATED, spdx_document
from cove.image.sinks import Sink, TarSink
from cove.image.tar.header import NANO, Header
from cove.system.files import storage_errors

STDOUT = "-"
STAGE_INIT = Path(__file__).parent.parent / "images/stage-init"
"""The first process before a root on a disk, unless the configuration names another."""

_SCRATCH = ".cove-build."
_SBOM_NAME = "image"
PROVENANCE = ".intoto.json"
"""What the name of a statement of origin ends in."""


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
        sbom: where in the image its bill of materials lies; "" for none.
        sbom_created: the time that it tells (RFC 3339).
        provenance: write a statement of what went in beside the results.
        inputs: the YAML files, for that statement.
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
    sbom: str = ""
    sbom_created: str = CREATED
    provenance: bool = False
    inputs: Sequence[Artifact] = ()
    size: int = 0
    tools: Tools | None = None


def produce(
    order: Order,
    sources: Sequence[ImageSource],
    report: Report,
    archive: Callable[[], Archive] | None = None,
) -> list[Path]:
    """Build.

    Args:
        order: what.
        sources: where images are looked for, in this order.
        report: told of the stages.
        archive: gives Debian's archive; asked only if there are packages in the configuration.

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
        prepared = prepare(order.config, sources, order.platform, archive)
    debs = archive().fetch(prepared.packages.all) if archive and prepared.packages else {}
    if order.output == STDOUT:
        with tempfile.TemporaryDirectory(prefix=_SCRATCH) as name:
            make_ready(prepared, debs, Path(name)).stream(order, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return []
    with _scratch(order) as scratch, stage(report, "build", "Building the image"):
        ready = make_ready(prepared, debs, scratch)
        made = (
            _streamed(ready, order, scratch) if order.formats[0].streamed else _formats(ready, order, scratch)
        )
        if order.provenance:
            made.append(_state(ready, order, made, scratch))
        return [_move(path, target) for path, target in made]


@dataclass(frozen=True)
class Ready:
    """An image of which everything is there.

    Args:
        prepared: the configuration with its images.
        unpacked: its packages; None if there are none.
        components: what it is made of; filled while it is written, if a bill of materials or its origin is wanted.
    """

    prepared: Prepared
    unpacked: Unpacked | None
    components: list[Component] = field(default_factory=list)

    def stream(self, order: Order, out: BinaryIO) -> None:
        """Write the image as a tar."""
        self.assemble(TarSink(out), order, docker=order.formats[0].name == "docker")

    def assemble(self, sink: Sink, order: Order, *, docker: bool = False) -> None:
        """Write the image's files into ``sink``, and end it."""

        def more(sink: Sink, databases: Sequence[Seen]) -> None:
            if order.sbom or order.provenance:
                self.components[:] = all_components(self.prepared, self.unpacked, databases)
            if docker:
                add_dockerfile(sink)
            if order.sbom:
                document = spdx_document(_SBOM_NAME, self.components, created=order.sbom_created)
                sink.begin(Header(name=order.sbom, size=len(document), mtime=MTIME * NANO))
                sink.write(document)

        assemble(
            self.prepared,
            sink,
            base=order.base,
            unpacked=self.unpacked,
            decompress_kernel=order.decompress_kernel,
            more=more,
        )


def make_ready(prepared: Prepared, debs: Mapping[str, Path], scratch: Path) -> Ready:
    """Unpack what an image is made of.

    Args:
        prepared: the configuration with its images.
        debs: its packages' files.
        scratch: a folder that is there as long as the result is used.

    Raises:
        ArchiveError: a package is damaged, or two cannot be in one root.
        UsageError: the kernel's package holds none.
        StorageError: the disk is full.
    """
    packages = prepared.packages
    return Ready(prepared, unpack_packages(packages, debs, scratch) if packages else None)


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


def _streamed(ready: Ready, order: Order, scratch: Path) -> list[tuple[Path, Path]]:
    path = scratch / "stream"
    with path.open("wb") as out:
        ready.stream(order, out)
    target = Path(order.output) if order.output else order.folder / (order.name + order.formats[0].files[0])
    return [(path, target)]


def _formats(ready: Ready, order: Order, scratch: Path) -> list[tuple[Path, Path]]:
    needs = {one.needs for one in order.formats}
    parts = make_parts(ready, order, scratch, needs)
    made: dict[str, Path] = {}
    for one in order.formats:
        made |= {suffix: path for path, suffix in _make(one, parts, order)}
    return [(path, order.folder / (order.name + suffix)) for suffix, path in made.items()]


def make_parts(ready: Ready, order: Order, scratch: Path, needs: set[Needs]) -> Parts:
    """Write the parts of an image that formats are made of.

    Args:
        ready: the image.
        order: how it is built.
        scratch: a folder.
        needs: which parts.
    """
    parts = collect(scratch, needs, lambda sink: ready.assemble(sink, order))
    if ready.unpacked is not None and ready.unpacked.kernel is not None and Needs.ROOT in needs:
        with parts.stage.open("wb") as out:
            out.writelines(first_stage(ready.unpacked, _stage_init(order)))
    return parts


def _make(one: Format, parts: Parts, order: Order) -> Made:
    """The files of one format."""
    if one.name in _MAKERS:
        return _MAKERS[one.name](parts)
    if order.tools is not None and one.name in _ROOTS:
        return _ROOTS[one.name](parts, order.tools)
    if order.tools is None or not parts.kernel.stat().st_size:
        raise UsageError(f"the format {one.name} needs a kernel, and the configuration has none")
    boot = disks.Parts(
        kernel=parts.kernel,
        initrd=with_ucode(parts),
        cmdline=parts.cmdline.read_text(),
        size=order.size,
        architecture=order.platform.architecture,
    )
    path = parts.folder / f"image{one.files[0]}"
    disks.WRITERS[one.name](boot, path, order.tools)
    return [(path, one.files[0])]


_MAKERS: Mapping[str, Callable[[Parts], Made]] = {
    "kernel+initrd": kernel_initrd,
    "tar-kernel-initrd": initrd_tar,
}


_ROOTS: Mapping[str, Callable[[Parts, Tools], Made]] = {
    "kernel+squashfs": kernel_squashfs,
    "kernel+erofs": kernel_erofs,
}


def _stage_init(order: Order) -> bytes:
    own = order.config.kernel.init
    path = order.base / own if own else STAGE_INIT
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"the initramfs has no init script: {error.strerror}", details=str(path)
        ) from error


def _state(ready: Ready, order: Order, made: Sequence[tuple[Path, Path]], scratch: Path) -> tuple[Path, Path]:
    """The statement of where the image comes from, and its place."""
    path = scratch / "provenance"
    parameters = {
        "formats": [one.name for one in order.formats],
        "platform": str(order.platform),
        "decompressKernel": order.decompress_kernel,
        "sbom": order.sbom,
        "files": [one.name for one in order.inputs],
    }
    subjects = [Artifact(name=target.name, sha256=_digest(path)) for path, target in made]
    sources = source_artifacts(order.config, order.base)
    path.write_bytes(statement(subjects, parameters, [*order.inputs, *sources], ready.components))
    if order.output:
        return path, Path(order.output + PROVENANCE)
    return path, order.folder / (order.name + PROVENANCE)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
