# SPDX-License-Identifier: Apache-2.0
"""The kernel out of its image: the kernel itself, its command line, its modules, its microcode."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, cast

from cove.errors import ArchiveError, NotFoundError
from cove.image.linuxkit.config import Kernel
from cove.image.linuxkit.output import TIME, Output
from cove.image.linuxkit.unpack import unpack_image
from cove.image.oci.model import Image
from cove.image.tar.header import Header
from cove.image.tar.reader import Data, read_tar

_GZIP = b"\x1f\x8b"
_BINARY = "kernel"


def unpack_kernel(image: Image, kernel: Kernel, out: Output, *, decompress: bool = False) -> None:
    """Put the kernel to /boot and its tar to /; nothing else of the image is taken.

    Args:
        image: the kernel's.
        kernel: what to take of it.
        out: where to.
        decompress: take the kernel out of its gzip, or the gzip out of a bzImage.

    Raises:
        NotFoundError: the image has no kernel or no tar of that name.
        ArchiveError: it has two, or the kernel cannot be decompressed.
    """
    taker = _Taker(kernel, out, decompress=decompress)
    # nothing is copied, and what is appended goes nowhere: the taker takes all
    unpack_image(image, "", _Nowhere(out), take=taker)
    missing = "kernel" if not taker.kernel else "kernel tar" if kernel.tar and not taker.tar else ""
    if missing:
        name = taker.binary if missing == "kernel" else kernel.tar
        raise NotFoundError(
            f"did not find {missing} in kernel image {image.reference}",
            details=f"there is no {name} at its top",
            hint="kernel.binary and kernel.tar name the files; tar: none means that there is no tar.",
        )


class _Nowhere(Output):
    """Swallows what LinuxKit appends to every image."""

    def __init__(self, out: Output) -> None:
        super().__init__(cast("Any", None), out.folders, out.databases, source=out.source)

    def _begin(self, header: Header) -> None:  # noqa: ARG002
        return

    def file(self, name: str, contents: bytes, *, like: Header | None = None, mode: int = 0o644) -> None:
        """Nothing."""


class _Taker:
    """Sees the image's files and keeps the four that count."""

    def __init__(self, kernel: Kernel, out: Output, *, decompress: bool) -> None:
        self._wanted = kernel
        self.binary = kernel.binary or _BINARY
        self._out = out
        self._decompress = decompress
        self.kernel = self.tar = self.ucode = False

    def __call__(self, header: Header, data: Data) -> bool:
        if header.name == self.binary:
            self._take_kernel(header, data)
        elif self._wanted.tar and header.name == self._wanted.tar:
            self.tar = True
            self._take_tar(data)
        elif self._wanted.ucode and header.name == self._wanted.ucode:
            self._boot(header)
            self.ucode = True
            self._out.copy(replace(_generated(header), name="boot/ucode.cpio"), data)
        return True

    def _take_kernel(self, header: Header, data: Data) -> None:
        if self.kernel:
            raise ArchiveError("found more than one possible kernel image", details=header.name)
        self._boot(header)
        self.kernel = True
        self._out.file(
            "boot/cmdline", self._wanted.cmdline.encode(), like=Header(name="", records=header.records)
        )
        kernel = replace(_generated(header), name="boot/kernel")
        if self._decompress:
            self._out.file("boot/kernel", decompressed(data.read()), like=kernel)
        else:
            self._out.copy(kernel, data)

    def _boot(self, header: Header) -> None:
        if not self.kernel and not self.ucode:
            self._out.like_folder("boot", header)

    def _take_tar(self, data: Data) -> None:
        for header, contents in read_tar(cast("BinaryIO", _Stream(data))):
            self._out.copy(header, contents)


class _Stream:
    """A member of a tar as a stream that a tar can be read from."""

    def __init__(self, data: Data) -> None:
        self._chunks: Iterator[bytes] = data.chunks()
        self._left = b""

    def read(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            self._left = self._left or next(self._chunks, b"")
            if not self._left:
                break
            part, self._left = self._left[:missing], self._left[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def _generated(header: Header) -> Header:
    """Of the original file LinuxKit keeps mode, size and records."""
    return Header(name="", mode=header.mode, size=header.size, mtime=TIME, records=header.records)


def decompressed(kernel: bytes) -> bytes:
    """A kernel without its compression.

    Source: Documentation/arch/x86/boot.rst of Linux (boot protocol 2.08: payload_offset, payload_length).

    Raises:
        ArchiveError: it is not compressed by gzip.
    """
    try:
        if kernel.startswith(_GZIP):
            return gzip.decompress(kernel)
        if len(kernel) > 0x250 and kernel[0x1FE:0x200] == b"\x55\xaa" and kernel[0x202:0x206] == b"HdrS":
            version, sectors = struct.unpack_from("<H", kernel, 0x206)[0], kernel[0x1F1] or 4
            offset, length = struct.unpack_from("<II", kernel, 0x248)
            payload = kernel[offset + (sectors + 1) * 512 :][:length]
            if version >= 0x208 and payload.startswith(_GZIP):
                inflater = zlib.decompressobj(wbits=31)
                inside = inflater.decompress(payload)
                if inflater.eof:
                    return inside
    except (OSError, EOFError, zlib.error) as error:
        raise ArchiveError("the kernel cannot be decompressed", details=str(error)) from error
    raise ArchiveError(
        "the kernel cannot be decompressed",
        details="it is neither gzip nor a bzImage with a whole gzip in it",
    )
