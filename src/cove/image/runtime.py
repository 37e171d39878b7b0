# SPDX-License-Identifier: Apache-2.0
"""Images of our own for guests in LinuxKit's layout: its init, runc, containerd, and what runs in containers there.

Each is a file of two YAML documents in ``images/runtime``. The first is a LinuxKit package's (docs/packages.md of
linuxkit/linuxkit): ``config`` becomes the label that its builder reads; ``command`` is the image's own. The second
says what is in it, as for ``cove build``. ``kernel`` of the first names a kernel's package for each architecture.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from cove.debian.archive import Archive
from cove.debian.lock import Lock
from cove.errors import UsageError
from cove.events import Report
from cove.image.containers import PATH, PREFIX, Builtin, Job, make_archive
from cove.image.entries import MTIME
from cove.image.formats.fold import fold_tar
from cove.image.guest_image import BUILDER_VERSION, hash_file
from cove.image.kernel_image import write_kernel_layer
from cove.image.linuxkit.assemble import Prepared, prepare
from cove.image.linuxkit.config import Config, Kernel, Packages, load_config
from cove.image.linuxkit.spec import LABEL
from cove.image.oci.model import Platform
from cove.image.produce import Order, make_ready
from cove.image.rootfs import LOCK_IN_IMAGE, source_files
from cove.image.sbom.component import DPKG_FOLDER
from cove.image.sinks import TarSink
from cove.image.spool import Written
from cove.image.tar.header import NANO, Header

FOLDER = Path(__file__).parent.parent / "images/runtime"
"""Where the images are described."""

AGENT = "agent"
"""The one whose files are those of Cove's own guest."""

_GUEST = FOLDER.parent / "cove.yml"
_GUEST_SOURCES = FOLDER.parent.parent.parent / "cove_guest"
_COMMON = FOLDER.parent / "runtime-common.yml"
_SEPARATOR = "\n---\n"


def runtime_names() -> set[str]:
    """The names of these images, without ``cove.internal/``."""
    return {path.stem for path in FOLDER.glob("*.yml")}


def runtime_image(name: str) -> Builtin:
    """One of :func:`runtime_names`."""
    described = _read(name)
    return Builtin(
        name=name,
        summary=described.summary,
        loads=f"{PREFIX}{name}:latest",
        build=partial(_build, described),
        request=described.request,
    )


@dataclass(frozen=True, kw_only=True)
class _Described:
    """An image as its file describes it."""

    name: str
    summary: str
    about: dict[str, Any]
    contents: Config
    base: Path

    @property
    def is_kernel(self) -> bool:
        """Whether it is one for the section ``kernel``."""
        return "kernel" in self.about

    def contents_for(self, architecture: str) -> Config:
        """What is in it.

        Raises:
            UsageError: it is not made for this architecture.
        """
        if not self.is_kernel:
            return self.contents
        package = self.about["kernel"].get(architecture)
        if package is None:
            raise UsageError(f"there is no {PREFIX}{self.name} for {architecture}")
        return replace(self.contents, kernel=Kernel(package=package), files=())

    @property
    def request(self) -> str:
        """A hash of all that is said and of all files that are named."""
        digest = hashlib.sha256(f"{BUILDER_VERSION}\n{json.dumps(self.about)}\n".encode())
        digest.update(self.contents.as_yaml().encode())
        for entry in self.contents.files:
            for below, path in source_files(entry.value, self.base) if entry.kind == "source" else ():
                hash_file(digest, f"{entry.value} {below}", path)
        return digest.hexdigest()[:32]


def _read(name: str) -> _Described:
    path = FOLDER / f"{name}.yml"
    text = path.read_text()
    head, _, body = text.partition(_SEPARATOR)
    about: dict[str, Any] = yaml.safe_load(head)
    if name == AGENT:
        guest = load_config([(_GUEST.name, _GUEST.read_text())])
        raw = {key: value for key, value in guest.raw.items() if key != "packages"}
        contents, base = replace(guest, packages=Packages(), raw=raw), _GUEST_SOURCES
    else:
        contents = load_config([(_COMMON.name, _COMMON.read_text()), (path.name, body)])
        base = FOLDER
    return _Described(name=name, summary=about["summary"], about=about, contents=contents, base=base)


def _build(described: _Described, archive: Archive, into: Path, report: Report) -> Path:
    platform = Platform(architecture=archive.architecture)
    contents = described.contents_for(archive.architecture)
    prepared = prepare(contents, [], platform, lambda: archive)
    lock = prepared.packages.all if prepared.packages else Lock(())

    def layer(scratch: Path, path: Path) -> Written:
        unfolded = scratch / "unfolded.tar"
        order = Order(
            config=contents,
            platform=platform,
            formats=(),
            folder=into,
            name="",
            base=described.base,
        )
        ready = make_ready(prepared, archive.fetch(lock), scratch)
        with unfolded.open("wb") as out:
            ready.assemble(_Recording(TarSink(out), prepared), order)
        folded = scratch / "folded.tar" if described.is_kernel else path
        fold_tar(unfolded, folded)
        unfolded.unlink()
        if described.is_kernel:
            write_kernel_layer(folded, path, scratch)
            folded.unlink()
        with path.open("rb") as stream:
            return Written(path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())

    config: dict[str, Any] = {"Env": [PATH]}
    if "command" in described.about:
        config["Cmd"] = described.about["command"]
    if "config" in described.about:
        config["Labels"] = {LABEL: json.dumps(described.about["config"])}
    job = Job(
        name=described.name,
        loads=f"{PREFIX}{described.name}:latest",
        lock=lock,
        architecture=archive.architecture,
        layer=layer,
        config=config,
        extra=described.request,
    )
    return make_archive(job, into, report)


class _Recording:
    """Leaves the lock out, which would be another image's at /, and adds which packages there are.

    The latter in the form that scanners know from images without dpkg: a file for each package.
    """

    def __init__(self, sink: TarSink, prepared: Prepared) -> None:
        self._sink, self._prepared = sink, prepared
        self._left_out = False

    def begin(self, header: Header) -> None:
        """A file, unless it is the lock."""
        self._left_out = header.name == LOCK_IN_IMAGE
        if not self._left_out:
            self._sink.begin(header)

    def write(self, data: bytes) -> None:
        """Its contents."""
        if not self._left_out:
            self._sink.write(data)

    def end(self) -> None:
        """The records, and the end."""
        for one in self._prepared.packages.all.packages if self._prepared.packages else ():
            text = f"Package: {one.name}\nStatus: install ok installed\nVersion: {one.version}\n"
            data = f"{text}Architecture: {one.architecture}\nSource: {one.source}\n".encode()
            self._sink.begin(Header(name=f"{DPKG_FOLDER}{one.name}", size=len(data), mtime=MTIME * NANO))
            self._sink.write(data)
        self._sink.end()
