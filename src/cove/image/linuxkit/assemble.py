# SPDX-License-Identifier: Apache-2.0
"""Assemble an image: a configuration and images in, a stream of files out.

Order and places are LinuxKit's (moby/build/build.go): kernel, init, volumes, onboot, onshutdown, services, files.
Everything that can be wrong with images, labels and settings is found before the first file is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cove.debian.archive import Archive
from cove.image.linuxkit.config import Config, Container, Volume
from cove.image.linuxkit.debian import Packages, Unpacked, add_kernel, add_root, resolve_packages
from cove.image.linuxkit.files import add_files
from cove.image.linuxkit.gowrite import to_json
from cove.image.linuxkit.kernel import unpack_kernel
from cove.image.linuxkit.meaning import SECTIONS
from cove.image.linuxkit.ocivolume import write_layout
from cove.image.linuxkit.output import Output, Seen
from cove.image.linuxkit.spec import LABEL, Chosen, container_spec, read_label, runtime_config
from cove.image.linuxkit.unpack import RESOLVER, unpack_image
from cove.image.linuxkit.volumes import with_volumes
from cove.image.oci.model import Image, ImageSource, Platform, Root, parse_platform
from cove.image.oci.reader import find_root, open_image
from cove.image.oci.reference import parse_reference
from cove.image.sbom.component import APK
from cove.image.sinks import Sink
from cove.image.tar.header import FILE, Header
from cove.image.tar.reader import Data

More = Callable[[Sink, Sequence[Seen]], None]
"""Adds files at the end."""


_TMP = "tmp"
_PREFIXED = ("onboot", "onshutdown")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A container, ready to be written.

    Args:
        image: its image.
        folder: where it lies.
        location: its place in the YAML.
        config: the bytes of config.json.
        chosen: its settings.
        readonly: its root is.
    """

    image: Image
    folder: str
    location: str
    config: bytes
    chosen: Chosen
    readonly: bool


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A configuration whose images were found.

    Args:
        config: which.
        kernel: the kernel's image, if there is one.
        init: images for /.
        volumes: image of each volume; None for an empty one.
        bundles: the containers, section by section.
        packages: the Debian packages; None if none were asked for.
        images: everything that was found, by full name.
        roots: where each image begins, by full name.
    """

    config: Config
    kernel: Image | None
    init: tuple[Image, ...]
    volumes: tuple[Image | Root | None, ...]
    bundles: tuple[Bundle, ...]
    packages: Packages | None = None
    images: Mapping[str, Image | Root] = field(default_factory=dict)
    roots: Mapping[str, Root] = field(default_factory=dict)


def prepare(
    config: Config,
    sources: Sequence[ImageSource],
    platform: Platform,
    archive: Callable[[], Archive] | None = None,
) -> Prepared:
    """Find all images and packages of a configuration, read labels, and make every ``config.json``.

    Args:
        config: which.
        sources: where images are looked for, in this order.
        platform: for which.
        archive: gives Debian's archive, if packages are asked for.

    Raises:
        NotFoundError: an image was not found, or is not for this platform.
        UsageError: a label or a setting is wrong, or volumes are used wrongly.
        IntegrityError, ArchiveError: an image is damaged.
        ResolveError, NetworkError: packages cannot be had.
    """
    config.check()
    finder = _Finder(sources, platform)
    kernel = finder.image(config.kernel.image) if config.kernel.image else None
    init = tuple(finder.image(name) for name in config.init)
    volumes: list[Image | Root | None] = []
    for volume in config.volumes:
        if volume.oci:
            volumes.append(finder.root(volume.image, [parse_platform(text) for text in volume.platforms]))
        else:
            volumes.append(finder.image(volume.image) if volume.image else None)
    bundles = tuple(
        _bundle(one, finder.image(one.image), section, index, config.ids)
        for section in SECTIONS
        for index, one in enumerate(config.containers(section))
    )
    packages = None
    if archive is not None and (config.packages.include or config.kernel.package):
        packages = resolve_packages(config, archive())
    return Prepared(
        config=config,
        kernel=kernel,
        init=init,
        volumes=tuple(volumes),
        bundles=bundles,
        packages=packages,
        images=finder.found,
        roots=finder.roots,
    )


class _Finder:
    """Finds each image once."""

    def __init__(self, sources: Sequence[ImageSource], platform: Platform) -> None:
        self._sources, self._platform = sources, platform
        self.found: dict[str, Image | Root] = {}
        self.roots: dict[str, Root] = {}

    def image(self, name: str) -> Image:
        key = str(parse_reference(name))
        known = self.found.get(key)
        if not isinstance(known, Image):
            root = self.roots[key] = find_root(self._sources, name, [self._platform])
            known = self.found[key] = open_image(root, self._platform)
        return known

    def root(self, name: str, platforms: Sequence[Platform]) -> Root:
        root = find_root(self._sources, name, platforms)
        self.found.setdefault(str(root.reference), root)
        return root


def _bundle(one: Container, image: Image, section: str, index: int, ids: Mapping[str, int]) -> Bundle:
    about: Mapping[str, Any] = image.config.get("config") or {}
    label = (about.get("Labels") or {}).get(LABEL, "")
    chosen = Chosen(with_volumes(one.settings), read_label(label, one.image))
    spec = container_spec(chosen, about, ids, name=f"{one.where}: container {one.name}")
    prefix = f"{index:03d}-" if section in _PREFIXED else ""
    return Bundle(
        image=image,
        folder=f"containers/{section}/{prefix}{one.name}",
        location=f"{section}[{index}]",
        config=to_json(spec),
        chosen=chosen,
        readonly=bool(chosen.get("readonly", False)),
    )


def assemble(
    prepared: Prepared,
    sink: Sink,
    *,
    base: Path,
    unpacked: Unpacked | None = None,
    decompress_kernel: bool = False,
    more: More | None = None,
) -> None:
    """Write all files of an image into ``sink``, and end it.

    Args:
        prepared: the configuration and its images.
        sink: where to.
        base: the folder that ``files: source`` is relative to.
        unpacked: the packages, if there are any.
        decompress_kernel: see :func:`~cove.image.linuxkit.kernel.unpack_kernel`.
        more: adds files at the end; is told which databases of package managers came by.

    Raises:
        CoveError: an image is damaged, a file is missing. What was written so far is of no use.
    """
    out = Output(sink)
    config = prepared.config
    if prepared.kernel is not None:
        here = out.at(str(prepared.kernel.reference), "kernel")
        unpack_kernel(prepared.kernel, config.kernel, here, decompress=decompress_kernel)
    if unpacked is not None:
        add_kernel(unpacked, config.kernel.cmdline, out)
    _init(prepared.init, out)
    if unpacked is not None:
        add_root(unpacked, out)
    for index, (volume, image) in enumerate(zip(config.volumes, prepared.volumes, strict=True)):
        _volume(volume, image, out, f"volume[{index}]")
    roots: dict[str, str] = {}
    for bundle in prepared.bundles:
        _write_bundle(bundle, out, roots)
    add_files(config, out, base)
    if more is not None:
        more(sink, out.databases)
    sink.end()


def _init(images: Sequence[Image], out: Output) -> None:
    """Images at /; the databases of Alpine's package manager are joined at the end."""
    databases: list[bytes] = []

    for index, image in enumerate(images):
        here = out.at(str(image.reference), f"init[{index}]")

        def keep(header: Header, data: Data, here: Output = here) -> bool:
            if header.name != APK or header.kind != FILE:
                return False
            databases.append(data.read())
            here.raw(header, [databases[-1]])
            return True

        unpack_image(image, "", here, resolver=RESOLVER, take=keep)
    if len(databases) > 1:
        joined = b"".join(database + b"\n\n" for database in databases)
        out.at("LINUXKIT.apkinit", "init").timeless(APK, joined)


def _volume(volume: Volume, image: Image | Root | None, out: Output, location: str) -> None:
    folder = volume.folder
    platforms = tuple(map(parse_platform, volume.platforms))
    source = "empty" if image is None else str(image.reference)
    here = out.at(source, location)
    here.parents(f"{folder}/lower")
    if isinstance(image, Image):
        unpack_image(image, f"{folder}/lower/", here, resolver=RESOLVER)
    elif image is not None:
        write_layout(image, f"{folder}/lower/", here, platforms)
    for name in ("tmp", "merged"):
        out.at("linuxkit.volumes", location).folder(f"{folder}/{name}/")


def _write_bundle(bundle: Bundle, out: Output, roots: dict[str, str]) -> None:
    """A container's folder; the second one with the same image uses the first one's files."""
    name = str(bundle.image.reference)
    here = out.at(name, bundle.location)
    folder = bundle.folder
    known = roots.get(name)
    if known is None:
        root = f"{folder}/{'rootfs' if bundle.readonly else 'lower'}"
        here.parents(root)
        unpack_image(bundle.image, f"{root}/", here)
        roots[name] = root
    else:
        root = known
        here.parents(folder)
    here.file(f"{folder}/config.json", bundle.config)
    if not bundle.readonly:
        here.folder(f"{folder}/{_TMP}")
    if not bundle.readonly or known is not None:
        here.folder(f"{folder}/rootfs")
    mounts = _root_mounts(f"/{folder}", f"/{root}", readonly=bundle.readonly)
    here.file(f"{folder}/runtime.json", to_json(runtime_config(bundle.chosen, mounts)))


def _root_mounts(folder: str, root: str, *, readonly: bool) -> list[dict[str, Any]]:
    if readonly:
        return [{"destination": f"{folder}/rootfs", "source": root, "options": ["bind"]}]
    tmp = f"{folder}/{_TMP}"
    layers = [f"lowerdir={root}", f"upperdir={tmp}/upper", f"workdir={tmp}/work"]
    return [
        {"destination": tmp, "type": "tmpfs", "source": "tmpfs"},
        # nothing else is to see the upper layer
        {"destination": tmp, "options": ["remount", "private"]},
        {"destination": f"{folder}/rootfs", "type": "overlay", "source": "overlay", "options": layers},
    ]
