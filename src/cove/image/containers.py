# SPDX-License-Identifier: Apache-2.0
"""The built-in container images, made of the same signed archive as the guest.

Their host part, ``cove.internal``, is a name reserved for private use: nobody can publish under it, and plain
docker that is asked for one of them fails safely.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cove.debian.archive import Archive
from cove.debian.lock import Lock
from cove.errors import ArchiveError
from cove.events import Report, stage
from cove.image import busybox
from cove.image.debian_stage import SECOND_STAGE, debian_tree, packages_for
from cove.image.docker_archive import write_docker_archive
from cove.image.entries import directory, file, symlink
from cove.image.guest_image import BUILDER_VERSION
from cove.image.spool import Written, sweep, unpack_all, write_tar
from cove.image.tree import Tree
from cove.system.files import locked, storage_errors

PREFIX = "cove.internal/"
"""What every built-in image's name begins with."""

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_BUSYBOX = f"{PREFIX}busybox:latest"
_DEBIAN = f"{PREFIX}debian-stage1:latest"
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"  # noqa: S105
_GROUP = "root:x:0:\nnogroup:x:65534:\n"
_HOME_FOLDERS = {"dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755,
                 "sys": 0o555, "tmp": 0o1777, "var": 0o755, "var/tmp": 0o1777}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SecondStage:
    """What is left to be done in a container of the loaded image before it is the image that was asked for.

    Args:
        command: what the container runs, as root; it ends with exit code 0 when all is done.
        env: its environment.
        changes: instructions for ``docker commit --change``, which makes :attr:`Builtin.reference` of it.
        deadline: seconds it may take under full emulation.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]
    changes: tuple[str, ...]
    deadline: float


@dataclass(frozen=True, kw_only=True)
class Builtin:
    """One built-in image.

    Args:
        name: "busybox".
        summary: what it is, for people.
        loads: the reference in the archive that :attr:`build` makes; load it with ``docker load``.
        build: makes the archive in a folder unless it is there, and returns its path; blocks.
        second_stage: None when the loaded image is the image.
        request: changes whenever Cove's own part of the image does.
    """

    name: str
    summary: str
    loads: str
    build: Callable[[Archive, Path, Report], Path]
    second_stage: SecondStage | None = None
    request: str = BUILDER_VERSION

    @property
    def reference(self) -> str:
        """The name that users say, with its tag."""
        return f"{PREFIX}{self.name}:latest"


def build_busybox(archive: Archive, into: Path, report: Report) -> Path:
    """Make the archive of ``cove.internal/busybox``: the static program, its applets, passwd and group.

    Args:
        archive: where the package comes from.
        into: the folder of all archives.
        report: is told of the stage.

    Returns:
        the archive's path in ``into``; the same bytes for the same package.

    Raises:
        ResolveError, NetworkError, IntegrityError: the package cannot be had.
        StorageError: the disk is full.

    After an error nothing was made.
    """
    package = archive.resolve([busybox.PACKAGE]).get(busybox.PACKAGE)
    if package is None:
        raise ArchiveError(f"the archive has no {busybox.PACKAGE}")
    lock = Lock.of([package])

    def compose(scratch: Path) -> Tree:
        entries = unpack_all(archive.fetch(lock), scratch)[busybox.PACKAGE]
        return busybox_tree(next(entry for entry in entries if entry.path == busybox.PATH).read())

    job = Job(
        name="busybox",
        loads=_BUSYBOX,
        lock=lock,
        architecture=archive.architecture,
        layer=tree_layer(compose),
        config={"Cmd": ["sh"], "Env": [PATH]},
    )
    return make_archive(job, into, report)


def busybox_tree(program: bytes) -> Tree:
    """The root of the busybox image. Pure."""
    tree = Tree()
    tree.add(file("usr/bin/busybox", program, 0o755))
    for name in busybox.applets(program):
        if name != "busybox":
            tree.add(symlink(f"usr/bin/{name}", "busybox"))
    for folder, mode in _HOME_FOLDERS.items():
        tree.add(directory(folder, mode))
    tree.add(file("etc/passwd", _PASSWD))
    tree.add(file("etc/group", _GROUP))
    return tree


def stage_debian(archive: Archive, into: Path, report: Report) -> Path:
    """Make the archive of ``cove.internal/debian``'s first stage: all packages unpacked, none configured.

    Arguments, result and errors are those of :func:`build_busybox`. The image's apt uses the mirror that
    ``archive`` uses.
    """
    mirror = archive.mirror
    lock = packages_for(archive, mirror)

    def compose(scratch: Path) -> Tree:
        return debian_tree(archive.fetch(lock), scratch, mirror=mirror, architecture=archive.architecture)

    job = Job(
        name="debian",
        loads=_DEBIAN,
        lock=lock,
        architecture=archive.architecture,
        layer=tree_layer(compose),
        config={"Cmd": ["bash"], "Env": [PATH]},
        extra=f"{mirror.main} {mirror.security}",
    )
    return make_archive(job, into, report)


@dataclass(frozen=True, kw_only=True)
class Job:
    """An archive that is to be made.

    Args:
        name: what its file is called.
        loads: the image's reference in it.
        lock: the packages that it is made of.
        architecture: Debian's name of it.
        layer: writes the tar of the only layer; its first argument is a scratch folder.
        config: the image's ``config`` object.
        extra: what decides the contents besides the lock.
    """

    name: str
    loads: str
    lock: Lock
    architecture: str
    layer: Callable[[Path, Path], Written]
    config: Mapping[str, Any]
    extra: str = ""

    @property
    def file_name(self) -> str:
        """Another one for other contents."""
        key = f"{BUILDER_VERSION} {self.loads} {self.extra}\n{self.lock.digest}"
        return f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tar"


def tree_layer(compose: Callable[[Path], Tree]) -> Callable[[Path, Path], Written]:
    """A layer of what ``compose`` makes, with contents in the scratch folder that it is given."""

    def write(scratch: Path, into: Path) -> Written:
        return write_tar(compose(scratch).sorted(), into)

    return write


def make_archive(job: Job, into: Path, report: Report) -> Path:
    """Make an archive in the folder ``into`` unless it is there, and return its path.

    Raises:
        StorageError: the disk is full.
        CoveError: what the layer's writer raises.

    After an error nothing was made.
    """
    path = into / job.file_name
    if path.exists():
        return path
    what = f"{PREFIX}{job.name}"
    with storage_errors(f"making {what}"), locked(into / ".lock", waiting_for="making a built-in image"):
        sweep(into)
        with (
            stage(report, f"image-{job.name}", f"Making {what}"),
            tempfile.TemporaryDirectory(dir=into, prefix=f".{job.name}.") as name,
        ):
            scratch = Path(name)
            layer = scratch / "layer.tar"
            written = job.layer(scratch, layer)
            made = scratch / "image.tar"
            write_docker_archive(
                layer,
                written,
                made,
                reference=job.loads,
                architecture=job.architecture,
                config=job.config,
            )
            made.replace(path)
    return path


GENERAL: Mapping[str, Builtin] = {
    "busybox": Builtin(
        name="busybox",
        summary="Debian's static busybox, a shell and the usual commands in 2 MB",
        loads=_BUSYBOX,
        build=build_busybox,
    ),
    "debian": Builtin(
        name="debian",
        summary="Debian 13 (trixie), minimal, with apt",
        loads=_DEBIAN,
        build=stage_debian,
        second_stage=SecondStage(
            command=("/bin/sh", "-ec", SECOND_STAGE),
            env={},  # `docker commit` would keep it: the script exports what it needs
            changes=('CMD ["bash"]', f"ENV {PATH}"),
            deadline=900.0,
        ),
    ),
}
"""The images for any container, by name."""
