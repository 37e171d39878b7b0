# SPDX-License-Identifier: Apache-2.0
"""The command that boots any image: cove boot."""

from __future__ import annotations

from pathlib import Path

import click

from cove.cli.context import Session
from cove.units import parse_size


@click.command(short_help="Boot an image, its console in this terminal.")
@click.argument("image", metavar="IMAGE|YML")
@click.option("--driver", default="auto", show_default=True, metavar="auto|uml|qemu", help="Who runs it.")
@click.option(
    "--accel", default="auto", show_default=True, metavar="auto|kvm|tcg", help="What executes it under qemu."
)
@click.option(
    "--arch", default="auto", show_default=True, help="Its architecture, where the image does not say it."
)
@click.option("-c", "--cpus", type=int, default=1, show_default=True, metavar="N", help="Virtual CPUs.")
@click.option(
    "--memory", "--mem", default="1024M", show_default=True, metavar="SIZE",
    help="Memory: 1G, 512M; a bare number is MiB.",
)  # fmt: skip
@click.option(
    "-d", "--disk", "disks", multiple=True, metavar="[file=]PATH[,size=1G][,format=qcow2]",
    help="A further disk, made if it is not there; repeatable.",
)  # fmt: skip
@click.option(
    "-p", "--publish", multiple=True, metavar="[ADDRESS:]HOST:GUEST[/udp]",
    help="Lead a port of this host (of its loopback by default) to the guest; repeatable.",
)  # fmt: skip
@click.option(
    "--networking", type=click.Choice(("user", "none")), default="user", show_default=True,
    help="A network card with DHCP, or none.",
)  # fmt: skip
@click.option(
    "--firmware",
    default="auto",
    show_default=True,
    metavar="auto|bios|uefi",
    help="What boots a disk or an ISO.",
)
@click.option("--uefi", is_flag=True, help="The same as --firmware uefi.")
@click.option(
    "--format", "format_", metavar="raw|qcow2|vmdk|vhd", help="How to read the disk (default: look)."
)
@click.option(
    "--initrd", type=click.Path(path_type=Path), metavar="FILE", help="Goes with an image that is a kernel."
)
@click.option("--cmdline", metavar="TEXT", help="The kernel's command line, instead of the image's own.")
@click.option(
    "--state", type=click.Path(path_type=Path), metavar="FOLDER",
    help="For disks that are made without a name (default: IMAGE-state).",
)  # fmt: skip
@click.option("--data", metavar="TEXT", help="User data, on a CD (cove.internal/metadata reads it).")
@click.option(
    "--data-file", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
    help="The same out of a file.",
)  # fmt: skip
@click.option(
    "--images", multiple=True, type=click.Path(path_type=Path), metavar="PATH",
    help="For a YAML file: take images from this OCI layout; repeatable.",
)  # fmt: skip
@click.option("--no-reboot", is_flag=True, help="End when the guest restarts.")
@click.pass_obj
def boot(
    session: Session,
    image: str,
    driver: str,
    accel: str,
    arch: str,
    cpus: int,
    memory: str,
    disks: tuple[str, ...],
    publish: tuple[str, ...],
    networking: str,
    firmware: str,
    uefi: bool,
    format_: str | None,
    initrd: Path | None,
    cmdline: str | None,
    state: Path | None,
    data: str | None,
    data_file: Path | None,
    images: tuple[Path, ...],
    no_reboot: bool,
) -> int:
    """Boot an image with its console in this terminal: what `cove build` made, an ISO, a disk, a kernel.

    IMAGE is a file, or what the names of its files begin with (NAME of NAME-kernel and NAME-initrd.img). YAML (a
    file, http(s)://..., - for stdin) is built first. Ctrl-A x ends the guest. The guest gets its address by DHCP.
    """
    if data is not None and data_file is not None:
        raise click.UsageError("--data and --data-file exclude each other")
    said = data_file.read_bytes() if data_file else None if data is None else data.encode()
    return session.client().boot(
        image,
        data=said,
        driver=driver,
        accel=accel,
        arch=arch,
        cpus=cpus,
        memory=parse_size(memory, default_unit="m"),
        disks=disks,
        publish=publish,
        network=networking == "user",
        firmware="uefi" if uefi else firmware,
        format=format_,
        initrd=initrd,
        cmdline=cmdline,
        state=state,
        reboot=not no_reboot,
        images=images,
    )
