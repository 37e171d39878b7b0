# SPDX-License-Identifier: Apache-2.0
"""Commands for images: build."""

from __future__ import annotations

from pathlib import Path

import click

from cove.cli import output
from cove.cli.context import Session
from cove.units import parse_size


class GoStyle(click.Command):
    """Takes long options with one dash too, as users of LinuxKit type them: ``-format tar``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the second dash before what is a long option."""
        long = {option for parameter in self.params for option in parameter.opts if option.startswith("--")}
        for index, word in enumerate(args):
            if word == "--":
                break
            if word.startswith("-") and f"-{word.partition('=')[0]}" in long:
                args[index] = f"-{word}"
        return super().parse_args(ctx, args)


@click.command(cls=GoStyle, short_help="Build a bootable image from LinuxKit YAML.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("-f", "--format", "formats", multiple=True, metavar="NAME", help="What to make; repeatable.")
@click.option("--name", metavar="NAME", default="", help="What the files' names begin with.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where they go.")
@click.option(
    "-o",
    "--output",
    "output_file",
    metavar="FILE",
    default="",
    help="The file of format tar or docker; - for stdout.",
)
@click.option(
    "--images",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Take images from this OCI layout, a folder or a tar; repeatable.",
)
@click.option("--docker", is_flag=True, help="Take images from a docker engine before the cache is asked.")
@click.option("--arch", metavar="NAME", default="", help="The architecture to build for: amd64, arm64.")
@click.option("--pull", is_flag=True, help="Ask registries also for images that are in the cache.")
@click.option(
    "--size", metavar="SIZE", help="What a disk is to have: 1G, 1024M (default: as little as it can)."
)
@click.option("--decompress-kernel", is_flag=True, help="Take the kernel out of its gzip.")
@click.option("--no-sbom", is_flag=True, help="Put no bill of materials into the image.")
@click.option(
    "--sbom-output",
    metavar="NAME",
    default="sbom.spdx.json",
    show_default=True,
    help="Its name in the image.",
)
@click.option("--sbom-current-time", is_flag=True, help="Let it tell the time of the build.")
@click.option("--provenance", is_flag=True, help="Write where all comes from to NAME.intoto.json (SLSA).")
@click.option("--dry-run", is_flag=True, help="Check the files and print what they come to.")
@click.pass_obj
def build(
    session: Session,
    files: tuple[str, ...],
    formats: tuple[str, ...],
    name: str,
    folder: Path | None,
    output_file: str,
    images: tuple[Path, ...],
    docker: bool,
    arch: str,
    pull: bool,
    size: str | None,
    decompress_kernel: bool,
    no_sbom: bool,
    sbom_output: str,
    sbom_current_time: bool,
    provenance: bool,
    dry_run: bool,
) -> None:
    """Build a bootable image from LinuxKit YAML; several files are merged, - is stdin, http(s):// is fetched.

    \b
      cove build --images layouts/ minimal.yml          kernel and initramfs
      cove build -f tar -o - minimal.yml | tar t        the files alone
    """  # noqa: D301  (click wants the character itself)
    from cove.sdk.building import BuildOptions, read_config

    if dry_run:
        config = read_config(files, offline=session.client().offline)
        for problem in config.complaints:
            output.talk(f"cove: would not build: {problem}")
        output.data(config.as_yaml() + "\n")
        return
    options = BuildOptions(
        formats=formats,
        name=name,
        folder=folder,
        output=output_file,
        images=images,
        docker=docker,
        architecture=arch,
        decompress_kernel=decompress_kernel,
        pull=pull,
        sbom="" if no_sbom else sbom_output,
        sbom_current_time=sbom_current_time,
        provenance=provenance,
        size=parse_size(size, default_unit="m") if size else 0,
    )
    made = session.client().build(files, options)
    session.close()
    for path in () if session.quiet else made:
        output.talk(f"  {path}")
