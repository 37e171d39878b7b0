# SPDX-License-Identifier: Apache-2.0
"""Build the guest of machines: what :mod:`cove.image.produce` builds of YAML, kept as a :class:`GuestImage`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cove.debian.archive import Archive
from cove.debian.lock import Lock
from cove.errors import NotFoundError, StorageError, UsageError
from cove.events import Report, stage
from cove.image.formats.disks import Tools
from cove.image.formats.filesystems import FOLDED, kernel_erofs
from cove.image.formats.fold import fold_tar
from cove.image.formats.names import FORMATS, Needs
from cove.image.guest_image import (
    ABOUT,
    BUILDER_VERSION,
    CMDLINE,
    INITRD,
    KERNEL,
    LOCK,
    ROOT,
    GuestImage,
    hash_file,
)
from cove.image.kernel import KernelParts
from cove.image.linuxkit.assemble import Prepared, prepare
from cove.image.linuxkit.config import Config, load_config
from cove.image.oci.model import Image, ImageSource, Platform
from cove.image.produce import Order, make_parts, make_ready
from cove.image.rootfs import source_files
from cove.image.spool import Written, sweep
from cove.system.files import building, locked, remove_tree, write_json

FIRST_STAGE = "rootfs/initramfs/init"
"""The first process of every guest, a path below Cove's own sources, unless ``kernel.init`` names another."""

AGENT = "usr/lib/cove/cove_guest/__main__.py"
"""Where the agent of a guest is."""

_NEEDED = ((AGENT,), ("usr/lib/cove/boot",), ("usr/sbin/init", "sbin/init"))
_NAMES = {"-erofs.img": ROOT, "-stage.img": INITRD, "-kernel": KERNEL}


@dataclass(frozen=True, kw_only=True)
class GuestFiles:
    """The YAML that describes a guest.

    Args:
        files: merged in this order.
        base: the folder that their ``files: source`` is relative to.
        kernel: YAML of Cove's that brings the kernel, if ``files`` name none.
        own: the folder of Cove's own sources.
        custom: whether a user wrote ``files``.
    """

    files: tuple[Path, ...]
    base: Path
    kernel: tuple[Path, ...] = ()
    own: Path
    custom: bool = False

    def load(self) -> Config:
        """Read all of it.

        Raises:
            UsageError: something is wrong; lists every problem.
            NotFoundError: a file is missing.
        """
        texts = [(path.name, _read(path)) for path in self.files]
        config = load_config(texts)
        init = str(self.base / config.kernel.init) if config.kernel.init else str(self.own / FIRST_STAGE)
        if config.kernel.image:
            raise UsageError(
                "a machine's kernel comes from a Debian package",
                details=f"kernel.image is {config.kernel.image}",
                hint="Name one with kernel.package, or leave kernel out: then the machine's driver has its own.",
            )
        if not config.kernel.package:
            config = load_config([*texts, *((path.name, _read(path)) for path in self.kernel)])
        if not config.kernel.package:
            raise UsageError("there is no kernel.package", details=", ".join(map(str, self.files)))
        return replace(config, kernel=replace(config.kernel, init=init))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", details=str(error)) from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error


def request_of(guest: GuestFiles, architecture: str) -> str:
    """What a build of a user's guest is asked for, as one hash: all YAML and the files that it names.

    Args:
        guest: the YAML.
        architecture: Debian's name of it.

    Raises:
        UsageError, NotFoundError: as :meth:`GuestFiles.load`.
    """
    digest = hashlib.sha256(f"{BUILDER_VERSION} {architecture} custom\n".encode())
    _hash_config(digest, guest.load(), guest.base)
    return digest.hexdigest()[:32]


def build_guest(
    *,
    guest: GuestFiles,
    request: str,
    sources: Sequence[ImageSource],
    archive: Archive,
    tools: Tools,
    images: Path,
    report: Report,
) -> GuestImage:
    """Build the image that ``guest`` describes, unless it exists already.

    Args:
        guest: the YAML.
        request: the build's key, made before: a file that changes meanwhile must not be found under its new one.
        sources: where OCI images are looked for.
        archive: where packages come from; its architecture is the guest's.
        tools: has mkfs.erofs.
        images: the folder of all images.
        report: is told of the stages.

    Returns:
        the image, in ``images/ID``; ``images/REQUEST.json`` points to it for
        :func:`~cove.image.guest_image.find_guest`.

    Raises:
        UsageError: the YAML is wrong (lists every problem), or what it makes is no guest of a machine.
        NotFoundError: a file or an image is missing.
        ResolveError, NetworkError, IntegrityError: packages or images cannot be had.
        StorageError: the disk is full.

    After an error no image was made; what was downloaded stays in the archive's cache.
    """
    config = guest.load()
    if not Path(config.kernel.init).is_file():
        raise UsageError(
            "the initramfs has no init script", details=config.kernel.init, hint="Set kernel.init."
        )
    order = Order(
        config=config,
        platform=Platform(architecture=archive.architecture),
        formats=[FORMATS["kernel+erofs"]],
        folder=images,
        name="guest",
        base=guest.base,
    )
    with stage(report, "resolve", "Finding the guest's packages"):
        prepared = prepare(config, sources, order.platform, lambda: archive)
        plan = _Plan(order=order, prepared=prepared, id=_identity(order, prepared))
    folder = images / plan.id
    with locked(images / ".lock", waiting_for="building a guest image"):
        sweep(images)
        try:
            image = GuestImage.load(folder)
        except NotFoundError:
            remove_tree(folder)
            debs = archive.fetch(plan.lock)
            with stage(report, "image", "Building the guest's image"), building(folder) as scratch:
                _build(plan, debs, tools, scratch)
            image = GuestImage.load(folder)
        write_json(images / f"{request}.json", {"id": image.id, "custom": guest.custom})
    return image


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Everything that decides the image's contents."""

    id: str
    order: Order
    prepared: Prepared
    lock: Lock = field(init=False)

    def __post_init__(self) -> None:
        packages = self.prepared.packages
        object.__setattr__(self, "lock", packages.all if packages is not None else Lock(()))


def _identity(order: Order, prepared: Prepared) -> str:
    lock = prepared.packages.all.digest if prepared.packages is not None else ""
    digest = hashlib.sha256(f"{BUILDER_VERSION} {order.platform.architecture}\n{lock}\n".encode())
    for name, image in sorted(prepared.images.items()):
        found = image.manifest if isinstance(image, Image) else image.descriptor
        digest.update(f"{name} {found.digest}\n".encode())
    _hash_config(digest, order.config, order.base)
    return digest.hexdigest()[:32]


def _hash_config(digest: Any, config: Config, base: Path) -> None:
    """All that is said in YAML, and the files it names; comments, order of keys and places of files do not count."""
    digest.update(config.as_yaml().encode())
    hash_file(digest, "init", Path(config.kernel.init))
    for entry in config.files:
        for below, path in source_files(entry.value, base) if entry.kind == "source" else ():
            hash_file(digest, f"{entry.value} {below}", path)


def _build(plan: _Plan, debs: Mapping[str, Path], tools: Tools, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".scratch.") as name:
        scratch = Path(name)
        ready = make_ready(plan.prepared, debs, scratch)
        parts = make_parts(ready, plan.order, scratch, {Needs.ROOT})
        paths = fold_tar(parts.root, scratch / FOLDED)
        _check(paths)
        for path, suffix in kernel_erofs(parts, tools):
            if suffix in _NAMES:
                path.replace(folder / _NAMES[suffix])
        if ready.unpacked is None or ready.unpacked.kernel is None:
            raise UsageError("the guest has no kernel")
        _describe(plan, ready.unpacked.kernel, folder)


def _check(paths: Container[str]) -> None:
    missing = [places[0] for places in _NEEDED if not any(place in paths for place in places)]
    if missing:
        raise UsageError(
            f"this is no guest of a machine: it has no {'agent' if AGENT in missing else 'init'}",
            details="\n".join(f"/{path} is missing" for path in missing),
            hint="Put cove.internal/agent into init: it brings the agent and what starts it.",
        )


def _describe(plan: _Plan, kernel: KernelParts, folder: Path) -> None:
    wanted = plan.order.config.kernel
    (folder / CMDLINE).write_text(wanted.cmdline)
    (folder / LOCK).write_text(plan.lock.to_json())
    names = [CMDLINE, INITRD, LOCK, ROOT, *([] if wanted.external else [KERNEL])]
    package = {
        "name": kernel.package.name,
        "version": kernel.package.version,
        "sha256": kernel.package.sha256,
    }
    write_json(
        folder / ABOUT,
        {
            "id": plan.id,
            "builder": BUILDER_VERSION,
            "cmdline": wanted.cmdline,
            "kernel": {
                "release": kernel.release,
                "path": kernel.binary.path,
                "sha256": kernel.sha256,
                "external": wanted.external,
                "package": package,
            },
            "packages": {p.name: p.version for p in plan.lock.packages},
            "files": {name: asdict(_measure(folder / name)) for name in sorted(names)},
        },
    )


def _measure(path: Path) -> Written:
    with path.open("rb") as stream:
        return Written(path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())
