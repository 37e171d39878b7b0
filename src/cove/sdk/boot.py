# SPDX-License-Identifier: Apache-2.0
"""Boot any image, as `linuxkit run` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from cove.sdk.installation import Installation

if TYPE_CHECKING:
    from cove.image.linuxkit.config import Config
    from cove.machine.boot.run import Build

ANY_KERNEL = "cove.internal/kernel"
"""The kernel of a YAML file that every driver has one of."""

_UML_KERNEL = Path(__file__).parent.parent / "images/boot-uml.yml"


class BootWishes(TypedDict, total=False):
    """What can be asked of a boot; everything has a default.

    Attributes:
        driver: "auto", "uml" or "qemu".
        accel: "auto", "kvm" or "tcg".
        arch: "auto", "x86_64" or "aarch64".
        cpus: virtual CPUs (1).
        memory: bytes (1 GiB).
        disks: further disks, each ``[file=]PATH[,size=1G][,format=qcow2]``.
        publish: ports, each ``[ADDRESS:]HOST:GUEST[/tcp|udp]``.
        network: whether it has a network card.
        firmware: "auto", "bios" or "uefi".
        format: of the image, if it is a disk, where its contents are not to tell.
        initrd: goes with an image that is a kernel.
        cmdline: replaces the kernel's command line.
        state: folder for disks that are made; ``IMAGE-state`` by default.
        reboot: whether a restart asked for by the guest restarts it.
        data: what the guest is told on a CD of its own, as ``linuxkit run --data`` does.
        images: OCI layouts to take images from, when a YAML file is built and booted.
    """

    driver: str
    accel: str
    arch: str
    cpus: int
    memory: int
    disks: Sequence[str]
    publish: Sequence[str]
    network: bool
    firmware: str
    format: str | None
    initrd: Path | None
    cmdline: str | None
    state: Path | None
    reboot: bool
    data: bytes | None
    images: Sequence[Path]


def boot_image(installation: Installation, name: str, wishes: BootWishes) -> int:
    """Boot an image; see :meth:`cove.sdk.client.Client.boot`."""
    from cove.machine.boot.run import boot
    from cove.machine.recipes import STDIN, default_name, is_url
    from cove.spec.boot import BootRequest, disk_format, parse_disk, parse_publish

    read = ("disks", "publish", "format", "images")
    plain = {key: value for key, value in wishes.items() if key not in read}
    image, build = Path(name), None
    if is_recipe(name):
        build = _builder(installation, name, tuple(wishes.get("images", ())))
        beside = Path() if name == STDIN or is_url(name) else image.parent
        plain["state"] = plain.get("state") or beside / f"{default_name(name)}-state"
    request = BootRequest(
        image=image,
        disks=tuple(parse_disk(text) for text in wishes.get("disks", ())),
        publish=tuple(parse_publish(text) for text in wishes.get("publish", ())),
        format=disk_format(wishes.get("format")),
        **plain,  # type: ignore[arg-type]  # a TypedDict that lost keys is a plain one
    )
    return boot(request, installation.workshop(), build)


def is_recipe(name: str) -> bool:
    """Whether what is to be booted is a YAML file, which is built first."""
    from cove.machine.recipes import STDIN, is_url

    path = Path(name)
    return name == STDIN or is_url(name) or (path.suffix in (".yml", ".yaml") and path.is_file())


def _builder(installation: Installation, file: str, images: tuple[Path, ...]) -> Build:
    from cove.image.linuxkit.config import load_config
    from cove.machine.recipes import default_name
    from cove.sdk.building import BuildOptions, build_texts, read_texts

    def build(folder: Path, driver: Callable[[], str]) -> Path:
        texts = read_texts([file], offline=installation.offline)
        if takes_any_kernel(load_config(texts)) and driver() == "uml":
            texts += read_texts([str(_UML_KERNEL)])
        name = default_name(file)
        options = BuildOptions(formats=("kernel+initrd",), name=name, folder=folder, images=images)
        build_texts(installation, texts, options)
        return folder / name

    return build


def takes_any_kernel(config: Config) -> bool:
    """Whether a configuration's kernel is Cove's, whichever the driver wants."""
    from cove.image.oci.reference import parse_reference

    name = config.kernel.image
    return bool(name) and parse_reference(name) == parse_reference(ANY_KERNEL)
