# SPDX-License-Identifier: Apache-2.0
"""The formats kernel+squashfs and kernel+erofs: the root as a read-only file system, from a tar, by any user."""

from __future__ import annotations

import hashlib
from pathlib import Path
from uuid import UUID

from cove.image.entries import MTIME
from cove.image.erofs import make_erofs
from cove.image.formats.archives import Made, kernel_and_cmdline
from cove.image.formats.disks import Tools
from cove.image.formats.fold import fold_tar
from cove.image.formats.parts import Parts
from cove.system.process import run

FOLDED = "folded"
"""Name of the tar in the scratch folder that names each path once; made when first needed."""

_DEADLINE = 1800.0


def kernel_squashfs(parts: Parts, tools: Tools) -> Made:
    """kernel+squashfs."""
    tar, image = folded(parts), parts.folder / "squashfs"
    command = tools.command("squashfs", "sqfstar").with_args(
        "-quiet", "-no-progress", "-mkfs-time", str(MTIME), "-root-time", str(MTIME), "-root-mode", "0755",
        "-root-uid", "0", "-root-gid", "0", "-exports", str(image)
    )  # fmt: skip
    run(command, doing="making the squashfs", deadline=_DEADLINE, stdin=tar)
    return [(image, "-squashfs.img"), *kernel_and_cmdline(parts), *_first_stage(parts)]


def kernel_erofs(parts: Parts, tools: Tools) -> Made:
    """kernel+erofs."""
    tar, image = folded(parts), parts.folder / "erofs"
    with tar.open("rb") as stream:
        identity = hashlib.file_digest(stream, "sha256").hexdigest()
    make_erofs(tools.command("image", "mkfs.erofs"), tar=tar, into=image, uuid=UUID(identity[:32]))
    return [(image, "-erofs.img"), *kernel_and_cmdline(parts), *_first_stage(parts)]


def _first_stage(parts: Parts) -> Made:
    """The initramfs that loads what the kernel needs for the disk, where the image's kernel is Debian's."""
    return [(parts.stage, "-stage.img")] if parts.stage.exists() else []


def folded(parts: Parts) -> Path:
    """The root as a tar that names each path once; made when first asked for."""
    path = parts.folder / FOLDED
    if not path.exists():
        fold_tar(parts.root, path)
    return path
