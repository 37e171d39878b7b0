# SPDX-License-Identifier: Apache-2.0
"""Build images from LinuxKit YAML."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cove.errors import UsageError

if TYPE_CHECKING:
    from cove.image.linuxkit.config import Config
    from cove.image.oci.model import ImageSource
    from cove.sdk.installation import Installation


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How an image is built.

    Args:
        formats: names of formats; several may be joined by commas.
        name: what the files' names begin with; by default the last YAML file's name.
        folder: where they go; by default the current folder.
        output: the one file of a format that is a single stream, "-" for stdout.
        images: OCI layouts, folders or tars, to take images from before the content store is asked.
        docker: take images from a docker engine before the content store is asked.
        architecture: Go's name; by default this host's.
        decompress_kernel: take the kernel out of its gzip.
        pull: ask registries even for what is in the content store.
        base: the folder that ``files: source`` is relative to; by default the current folder.
        sbom: name of the bill of materials in the image; "" for none.
        sbom_current_time: it tells the time of the build, so that two builds differ.
        provenance: write a statement of what went in beside the results.
        size: bytes that a disk is to have; as few as possible by default.
    """

    formats: tuple[str, ...] = ()
    name: str = ""
    folder: Path | None = None
    output: str = ""
    images: tuple[Path, ...] = ()
    docker: bool = False
    architecture: str = ""
    decompress_kernel: bool = False
    pull: bool = False
    base: Path = Path()
    sbom: str = "sbom.spdx.json"
    sbom_current_time: bool = False
    provenance: bool = False
    size: int = 0


def read_config(files: Sequence[str], *, offline: bool = False) -> Config:
    """Read and merge LinuxKit YAML files; "-" is stdin, http(s):// fetches one.

    Raises:
        UsageError: they are wrong; the details list every problem with file, line and key.
        NotFoundError, NetworkError, OfflineError: one cannot be had.
    """
    from cove.image.linuxkit.config import load_config

    return load_config(read_texts(files, offline=offline))


def read_texts(files: Sequence[str], *, offline: bool = False) -> list[tuple[str, str]]:
    """Names and texts of YAML files, as :func:`read_config` finds them."""
    from cove.machine.recipes import read_recipe

    return [(name, read_recipe(name, offline=offline)) for name in files]


def build_image(installation: Installation, files: Sequence[str], options: BuildOptions) -> list[Path]:
    """Build an image.

    Args:
        installation: whose content store and settings are used.
        files: LinuxKit YAML files, merged in this order; "-" is stdin, http(s):// fetches one.
        options: how.

    Returns:
        the files that were written.

    Raises:
        UsageError: files or options are wrong.
        CoveError: the image cannot be built; nothing was written then.
    """
    return build_texts(installation, read_texts(files, offline=installation.offline), options)


def build_texts(
    installation: Installation, texts: Sequence[tuple[str, str]], options: BuildOptions
) -> list[Path]:
    """The same for YAML that was read: pairs of name and text."""
    from cove.image.formats.names import choose_formats
    from cove.image.linuxkit.config import load_config
    from cove.image.oci.model import Platform, docker_architecture
    from cove.image.produce import STDOUT, Order, produce
    from cove.image.sbom.provenance import Artifact
    from cove.image.sbom.spdx import CREATED
    from cove.machine.boot_tools import BootTools
    from cove.machine.recipes import default_name
    from cove.spec.machine import architecture_named

    formats = choose_formats(options.formats, output=options.output)
    if options.output and (options.name or options.folder):
        raise UsageError("-o does not go with --name or --dir", hint="-o names the whole file.")
    if options.provenance and options.output == STDOUT:
        raise UsageError("a statement of origin needs a file to lie beside", hint="Name one with -o.")
    workshop = installation.workshop()
    order = Order(
        config=load_config(texts),
        platform=Platform(architecture=options.architecture or docker_architecture(platform.machine())),
        formats=formats,
        folder=options.folder or Path(),
        name=options.name or default_name(texts[-1][0]),
        output=options.output,
        decompress_kernel=options.decompress_kernel,
        base=options.base,
        sbom=options.sbom,
        sbom_created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}" if options.sbom_current_time else CREATED,
        provenance=options.provenance,
        inputs=[Artifact(name=name, sha256=_digest(text)) for name, text in texts],
        size=options.size,
        tools=BootTools(workshop.toolbox),
    )
    with _sources(installation, options) as sources:
        return produce(
            order,
            sources,
            installation.report,
            lambda: workshop.archive(architecture_named(order.platform.architecture)),
        )


@contextmanager
def _sources(installation: Installation, options: BuildOptions) -> Iterator[list[ImageSource]]:
    """The places to take images from, for the length of the block."""
    from cove.machine.building import image_sources
    from cove.machine.engine_images import engine_images
    from cove.sdk.creation import DEFAULT

    sources = image_sources(
        installation.home,
        installation.report,
        options.images,
        installation.workshop().archive,
        pull=options.pull,
        offline=installation.offline,
    )
    if not options.docker:
        yield sources
        return
    with tempfile.TemporaryDirectory(prefix="cove-engine-") as folder:
        own = installation.home.machine(DEFAULT).docker_socket
        engine = engine_images(os.environ, own, Path(folder), installation.report)
        at = len(options.images)
        yield [*sources[:at], engine, *sources[at:]]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
