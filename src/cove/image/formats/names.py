# SPDX-License-Identifier: Apache-2.0
"""Which formats there are, what each needs, and what its files are called. Pure data.

Names are LinuxKit's (moby/build/output.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cove.errors import UsageError


class Needs(Enum):
    """What a format is made of."""

    FILES = "files"  # the stream of files itself
    INITRD = "initrd"  # kernel, initramfs, command line
    ROOT = "root"  # kernel, command line, and a tar of the root


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format.

    Args:
        name: as in ``--format``.
        needs: what it is made of.
        files: suffixes of what is written; the first is the one that is booted or read.
        streamed: it can be written to a pipe, and only alone.
        tools: groups of the toolbox.
    """

    name: str
    needs: Needs
    files: tuple[str, ...]
    streamed: bool = False
    tools: tuple[str, ...] = ()


FORMATS = {
    one.name: one
    for one in (
        Format(name="tar", needs=Needs.FILES, files=(".tar",), streamed=True),
        Format(name="docker", needs=Needs.FILES, files=(".docker",), streamed=True),
        Format(name="kernel+initrd", needs=Needs.INITRD, files=("-initrd.img", "-kernel", "-cmdline")),
        Format(name="tar-kernel-initrd", needs=Needs.INITRD, files=("-initrd.tar",)),
        Format(
            name="kernel+squashfs",
            needs=Needs.ROOT,
            files=("-squashfs.img", "-kernel", "-cmdline"),
            tools=("squashfs",),
        ),
        Format(
            name="kernel+erofs",
            needs=Needs.ROOT,
            files=("-erofs.img", "-kernel", "-cmdline"),
            tools=("image",),
        ),
        Format(name="iso-bios", needs=Needs.INITRD, files=(".iso",), tools=("boot-bios",)),
        Format(name="iso-efi", needs=Needs.INITRD, files=("-efi.iso",), tools=("boot-efi",)),
        Format(name="raw-bios", needs=Needs.INITRD, files=("-bios.img",), tools=("boot-bios",)),
        Format(name="raw-efi", needs=Needs.INITRD, files=("-efi.img",), tools=("boot-efi",)),
        Format(name="qcow2-bios", needs=Needs.INITRD, files=(".qcow2",), tools=("boot-bios", "qemu-utils")),
        Format(name="qcow2-efi", needs=Needs.INITRD, files=("-efi.qcow2",), tools=("boot-efi", "qemu-utils")),
        Format(name="vmdk", needs=Needs.INITRD, files=(".vmdk",), tools=("boot-bios", "qemu-utils")),
        Format(name="vhd", needs=Needs.INITRD, files=(".vhd",), tools=("boot-bios",)),
    )
}
"""All formats by name, in the order in which help lists them."""

DEFAULT = "kernel+initrd"
DEFAULT_STREAM = "tar"


def choose_formats(names: Sequence[str], *, output: str) -> list[Format]:
    """The formats that are meant.

    Args:
        names: as they were asked for, each perhaps several with commas between.
        output: ``-o``; "" for none.

    Raises:
        UsageError: a format is unknown, or they do not go together.
    """
    wanted = [part for name in names for part in name.split(",")] or [DEFAULT_STREAM if output else DEFAULT]
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown:
        raise UsageError(
            f"unknown format {', '.join(map(repr, unknown))}", hint=f"Formats: {', '.join(FORMATS)}."
        )
    formats = [FORMATS[name] for name in dict.fromkeys(wanted)]
    alone = next((one for one in formats if one.streamed), None)
    if alone and len(formats) > 1:
        raise UsageError(f"format {alone.name} must be the only format", hint="Build once for each.")
    if output and not formats[0].streamed:
        raise UsageError(
            f"-o does not go with format {formats[0].name}, which is more than one stream",
            hint="--dir and --name say where its files go.",
        )
    return formats
