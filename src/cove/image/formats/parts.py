# SPDX-License-Identifier: Apache-2.0
"""The parts that formats are made of, written once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cove.image.formats.boot import CMDLINE, KERNEL, UCODE, BootSplitter
from cove.image.formats.gzips import GzipWriter
from cove.image.formats.initrd import InitrdSink
from cove.image.formats.names import Needs
from cove.image.sinks import Sink, TarSink


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Files in a scratch folder; those that the image does not have are empty.

    Args:
        folder: the scratch folder.
        kernel: the kernel.
        cmdline: its command line.
        ucode: microcode.
        initrd: the compressed initramfs, without the microcode; only if a format needs it.
        root: a tar of everything but /boot; only if a format needs it.
        stage: an initramfs that goes on to a root on a disk; missing unless the kernel needs one.
    """

    folder: Path
    kernel: Path
    cmdline: Path
    ucode: Path
    initrd: Path
    root: Path
    stage: Path


def collect(folder: Path, needs: set[Needs], fill: Callable[[Sink], None]) -> Parts:
    """Write the parts; all but ``stage``.

    Args:
        folder: a scratch folder.
        needs: which of them are needed.
        fill: writes the image's files into a sink.
    """
    names = ("kernel", "cmdline", "ucode", "initrd", "root", "stage")
    parts = Parts(folder=folder, **{name: folder / name for name in names})
    with ExitStack() as stack:
        boot = {
            name: stack.enter_context(path.open("wb"))
            for name, path in ((KERNEL, parts.kernel), (CMDLINE, parts.cmdline), (UCODE, parts.ucode))
        }
        rest: list[Sink] = []
        if Needs.ROOT in needs:
            rest.append(TarSink(stack.enter_context(parts.root.open("wb"))))
        packer = None
        if Needs.INITRD in needs:
            packer = GzipWriter(stack.enter_context(parts.initrd.open("wb")))
            stack.callback(packer.abandon)
            rest.append(InitrdSink(packer))
        fill(BootSplitter(boot, rest))
        if packer is not None:
            packer.finish()
    return parts
