# SPDX-License-Identifier: Apache-2.0
"""Kernels as LinuxKit's kernel images have them: ``kernel``, and ``kernel.tar`` with its modules.

The form is described in docs/kernels.md of linuxkit/linuxkit.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cove.image.entries import MTIME
from cove.image.sinks import TarSink
from cove.image.tar.header import NANO, Header, clean
from cove.image.tar.reader import read_tar

_KERNEL = "boot/kernel"
_MODULES = ("lib", "lib/modules")


def write_kernel_layer(system: Path, into: Path, scratch: Path) -> None:
    """Write ``into``, the layer of a kernel image.

    Args:
        system: the tar of a system with a kernel in /boot and modules in /lib/modules, each path once.
        into: where to.
        scratch: a folder for what is between.
    """
    modules = scratch / "kernel.tar"
    with system.open("rb") as stream, modules.open("wb") as out, into.open("wb") as layer:
        tar, sink = TarSink(out), TarSink(layer)
        for header, data in read_tar(stream):
            name = clean(header.name)
            if name == _KERNEL:
                header = replace(header, name="kernel", mode=0o644)  # noqa: PLW2901
                target = sink
            elif name in _MODULES or name.startswith(f"{_MODULES[-1]}/"):
                target = tar
            elif name.startswith("var"):
                target = sink  # which packages there are
            else:
                continue
            target.begin(header)
            for chunk in data.chunks():
                target.write(chunk)
        tar.end()
        out.flush()
        sink.begin(Header(name="kernel.tar", mode=0o644, size=modules.stat().st_size, mtime=MTIME * NANO))
        with modules.open("rb") as whole:
            while chunk := whole.read(1 << 20):
                sink.write(chunk)
        sink.end()
    modules.unlink()
