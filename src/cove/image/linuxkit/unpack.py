# SPDX-License-Identifier: Apache-2.0
"""The files of an image below a prefix, as LinuxKit puts them there (moby/build/image.go).

Docker makes some files in every container; LinuxKit drops or replaces those, and appends what must be there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cove.image.linuxkit.output import TIME, Output, Seen
from cove.image.oci.flatten import flatten
from cove.image.oci.model import Image
from cove.image.sbom.component import is_database
from cove.image.tar.header import FILE, LINK, Header
from cove.image.tar.reader import Data, InMemory

RESOLVER = "/run/resolvconf/resolv.conf"
"""Where /etc/resolv.conf leads in the root and in volumes."""

_DROPPED = frozenset((".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname"))
_HOSTS = b"""127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
_NO_RESOLVER = b"\n# no resolv.conf configured\n"
_REPLACED = {"etc/hosts": _HOSTS, "etc/resolv.conf": _NO_RESOLVER}
_MTAB = "etc/mtab"

Take = Callable[[Header, Data], bool]
"""Is shown each file before it is copied; True means that it took it."""


def unpack_image(
    image: Image, prefix: str, out: Output, *, resolver: str = "", take: Take | None = None
) -> None:
    """Put an image's files to ``prefix``.

    Args:
        image: which.
        prefix: "" or a path that ends in a slash.
        out: where to.
        resolver: target of /etc/resolv.conf; "" for a file that says there is none.
        take: sees every file first.

    Raises:
        IntegrityError, ArchiveError, NotFoundError: the image is damaged.
    """
    mtab = False
    for header, data in flatten(image):
        name = header.name
        if name in _DROPPED:
            continue
        if name in _REPLACED:
            _replace(header, prefix, out, resolver)
            continue
        if name == _MTAB:
            mtab = True
            header = replace(header, mtime=TIME)  # noqa: PLW2901
        if header.kind == FILE and is_database(name):
            contents = data.read()
            out.databases.append(Seen(source=out.source, path=name, data=contents))
            data = InMemory(contents)  # noqa: PLW2901
        if take is not None and take(header, data):
            continue
        link = prefix + header.link if header.kind == LINK else header.link
        out.copy(replace(header, name=prefix + name, link=link), data)
    _append(prefix, out, resolver, mtab=mtab)


def _replace(header: Header, prefix: str, out: Output, resolver: str) -> None:
    if header.name == "etc/resolv.conf" and resolver:
        out.symlink(prefix + header.name, resolver, like=header)
    elif header.kind == FILE:
        out.file(prefix + header.name, _REPLACED[header.name], like=header)
    # what is no file is replaced by what is appended; LinuxKit fails there


def _append(prefix: str, out: Output, resolver: str, *, mtab: bool) -> None:
    """What must be there. LinuxKit means to leave out what the image has, but does that for mtab alone."""
    for name in ("dev", "dev/pts", "dev/shm", "etc"):
        out.folder(prefix + name)
    out.file(f"{prefix}etc/hosts", _HOSTS)
    if not mtab:
        out.symlink(f"{prefix}{_MTAB}", "/proc/mounts", mode=0o755)
    if resolver:
        out.symlink(f"{prefix}etc/resolv.conf", resolver, mode=0o644)
    else:
        out.file(f"{prefix}etc/resolv.conf", _NO_RESOLVER)
    for name in ("proc", "sys"):
        out.folder(prefix + name)
