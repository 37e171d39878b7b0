# SPDX-License-Identifier: Apache-2.0
"""Commands for the cache: what was fetched and built, and the images that `cove build` takes its parts from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cove.cli import output
from cove.cli.context import Session
from cove.cli.options import JSON
from cove.errors import UsageError
from cove.units import format_size

_PLATFORM = click.option(
    "--platform", "platforms", multiple=True, metavar="OS/ARCH", help="For this platform; repeatable."
)


@click.group(short_help="What was fetched and built, images for builds.")
def cache() -> None:
    """What was fetched and built, and images for `cove build`."""


@cache.command("ls")
@click.option("-q", "--quiet", is_flag=True, help="Names alone.")
@JSON
@click.pass_obj
def cache_ls(session: Session, quiet: bool, as_json: bool) -> None:
    """List the images that were pulled or imported."""
    images = session.client().images.list()
    if as_json:
        output.as_json(
            [
                {
                    "name": one.name,
                    "digest": one.descriptor.digest,
                    "platforms": list(one.platforms),
                    "size": one.size,
                }
                for one in images
            ]
        )
    elif quiet:
        for one in images:
            output.data(one.name)
    else:
        rows = [
            (one.name, ",".join(one.platforms) or "-", one.descriptor.digest[:19], format_size(one.size))
            for one in images
        ]
        output.table(("NAME", "PLATFORMS", "DIGEST", "SIZE"), rows)


@cache.command("pull", short_help="Pull images from their registries.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@_PLATFORM
@click.option("--all-platforms", is_flag=True, help="For all platforms that there are.")
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="[REGISTRY=]URL",
    help="Try this mirror first (of Docker Hub, if none is named); repeatable.",
)  # fmt: skip
@click.pass_obj
def cache_pull(
    session: Session,
    images: tuple[str, ...],
    platforms: tuple[str, ...],
    all_platforms: bool,
    mirrors: tuple[str, ...],
) -> None:
    """Pull images from their registries, with the logins of `docker login`."""
    if platforms and all_platforms:
        raise UsageError("both --platform and --all-platforms were given", hint="Give one of them.")
    wanted: Any = () if all_platforms else platforms or None
    for image in images:
        output.data(session.client().images.pull(image, platforms=wanted, mirrors=mirrors))


@cache.command("import", short_help="Take images from an OCI layout or an archive.")
@click.argument("file", metavar="FILE|FOLDER|-")
@click.option("--name", "names", multiple=True, metavar="NAME", help="Name its only image so; repeatable.")
@click.pass_obj
def cache_import(session: Session, file: str, names: tuple[str, ...]) -> None:
    """Take images from an OCI layout (folder or tar) or an archive of `docker save`."""
    source: Any = sys.stdin.buffer if file == "-" else Path(file)
    for name in session.client().images.import_(source, names=names):
        output.data(name)


@cache.command("export")
@click.argument("image")
@click.option("-o", "--outfile", default="-", metavar="FILE|-", help="Where to (default: stdout).")
@click.option(
    "--format", "format_", type=click.Choice(("oci", "docker")), default="oci", show_default=True,
    help="An OCI layout, or what `docker load` of any age takes.",
)  # fmt: skip
@_PLATFORM
@click.pass_obj
def cache_export(
    session: Session, image: str, outfile: str, format_: Any, platforms: tuple[str, ...]
) -> None:
    """Write an image as a tar."""
    images = session.client().images
    if outfile != "-":
        with output.whole_file(Path(outfile)) as out:
            images.export(image, out, format_=format_, platforms=platforms)
        return
    if sys.stdout.isatty():
        raise UsageError("a tar is nothing for a terminal", hint="Use -o FILE, or a pipe.")
    images.export(image, sys.stdout.buffer, format_=format_, platforms=platforms)
    sys.stdout.buffer.flush()


@cache.command("rm")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("-a", "--all", "all_", is_flag=True, help="All images.")
@JSON
@click.pass_obj
def cache_rm(session: Session, images: tuple[str, ...], all_: bool, as_json: bool) -> None:
    """Remove images, and what of them no other image shares."""
    if bool(images) == all_:
        raise UsageError("nothing was named to remove" if not images else "both images and --all were given")
    collection = session.client().images
    freed = collection.remove(images or [one.name for one in collection.list()])
    if as_json:
        output.as_json({"freed": freed})
    else:
        output.data(f"Total reclaimed space: {format_size(freed)}")


@cache.command("size")
@JSON
@click.pass_obj
def cache_size(session: Session, as_json: bool) -> None:
    """How much disk space the cache takes."""
    sizes = session.client().cache_sizes()
    if as_json:
        output.as_json(sizes)
    else:
        rows = [(part, format_size(size)) for part, size in sizes.items()]
        output.table(("PART", "SIZE"), [*rows, ("total", format_size(sum(sizes.values())))])


@cache.command("prune", short_help="Remove from the cache what no machine needs.")
@click.option("-a", "--all", "all_", is_flag=True, help="Also what the next start must fetch or build again.")
@JSON
@click.pass_obj
def cache_prune(session: Session, all_: bool, as_json: bool) -> None:
    """Remove from the cache what no machine needs; images stay (see `cove cache rm`)."""
    freed = session.client().prune_cache(everything=all_)
    session.close()
    if as_json:
        output.as_json({"freed": freed})
    else:
        output.data(f"Total reclaimed space: {format_size(freed)}")
