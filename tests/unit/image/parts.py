# SPDX-License-Identifier: Apache-2.0
"""Parts of small images: kernel modules, a busybox, packages, and a real archive on loopback that carries them."""

from __future__ import annotations

import hashlib
import lzma
import struct
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cove.debian.archive import Archive
from cove.debian.downloads import Patience
from cove.system.process import Command
from tests.unit.debian.world import NOW, World, make_deb, member, serve

APPLETS = ("[", "[[", "ash", "busybox", "cat", "ls", "mount", "nc", "sh", "true", "uname", "wget")
BUSYBOX = b"\x7fELF code " + "".join(f"{name}\0" for name in APPLETS).encode() + b"\0/bin/sh\0"

COPY_TAR = Command((sys.executable, "-c", "import shutil,sys; shutil.copy(sys.argv[-1], sys.argv[-2])"), {})
"""Stands in for mkfs.erofs and leaves the tar, so that tests can look into it."""


def make_ko(**info: str | list[str]) -> bytes:
    """A 64-bit ELF file with nothing but a .modinfo section."""
    items = [
        (key, value)
        for key, values in info.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    modinfo = b"".join(f"{key}={value}\0".encode() for key, value in items)
    names = b"\0.modinfo\0.shstrtab\0"
    body = modinfo + names
    table = 64 + len(body)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)

    def section(name: int, kind: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offset, size, 0, 0, 1, 0)

    sections = (
        section(0, 0, 0, 0) + section(1, 1, 64, len(modinfo)) + section(10, 3, 64 + len(modinfo), len(names))
    )
    return header + body + sections


def deb(name: str, files: Mapping[str, bytes | str], *, fields: str = "", **scripts: bytes) -> bytes:
    """A package; a file whose contents are text that begins with "->" is a symlink, with "=" a hard link."""
    members: list[tuple[tarfile.TarInfo, bytes]] = []
    for path, contents in files.items():
        if path.endswith("/"):
            members.append((member(f"./{path}", tarfile.DIRTYPE, mode=0o755), b""))
        elif isinstance(contents, bytes):
            mode = 0o755 if "bin/" in path else 0o644
            members.append((member(f"./{path}", mode=mode), contents))
        elif contents.startswith("->"):
            members.append((member(f"./{path}", tarfile.SYMTYPE, link=contents[2:]), b""))
        else:
            members.append((member(f"./{path}", tarfile.LNKTYPE, link=f"./{contents[1:]}"), b""))
    control = f"Package: {name}\nVersion: 1.0\nArchitecture: amd64\n{fields}Description: {name}\n A test.\n"
    return make_deb(control, members, packer="", **scripts)


def kernel_debs() -> dict[str, bytes]:
    """A meta package, its kernel with three modules, a User-Mode Linux, and busybox."""
    modules = "usr/lib/modules/6.1-test"
    uml = "usr/lib/uml/modules/6.2-uml"
    return {
        "linux-image-test": deb("linux-image-test", {}, fields="Depends: linux-image-6.1-test, linux-base\n"),
        "linux-base": deb("linux-base", {"usr/bin/linux-base": b"not for the image"}),
        "linux-image-6.1-test": deb(
            "linux-image-6.1-test",
            {
                "boot/vmlinuz-6.1-test": b"the kernel",
                "boot/config-6.1-test": b"CONFIG=y",
                f"{modules}/kernel/fs/over-lay.ko.xz": lzma.compress(
                    make_ko(name="over_lay", depends="lib-b")
                ),
                f"{modules}/kernel/lib/lib-b.ko.xz": lzma.compress(make_ko(name="lib_b", alias=["x:y", "z"])),
                f"{modules}/kernel/sound/loud.ko.xz": lzma.compress(make_ko(name="loud")),
                f"{modules}/modules.builtin": b"kernel/fs/ext4/ext4.ko\n",
                f"{modules}/modules.order": b"kernel/lib/lib-b.ko\nkernel/fs/over-lay.ko\nkernel/sound/loud.ko\n",
            },
        ),
        "user-mode-linux": deb(
            "user-mode-linux",
            {
                "usr/bin/linux.uml": b"a kernel as a program",
                f"{uml}/kernel/erofs.ko": make_ko(name="erofs"),
                f"{uml}/modules.dep": b"stale",
                f"{uml}/modules.dep.bin": b"stale",
            },
        ),
        "busybox-static": deb("busybox-static", {"usr/bin/busybox": BUSYBOX}),
    }


@contextmanager
def shelf(debs: Mapping[str, bytes], cache: Path) -> Iterator[Archive]:
    """A signed archive on loopback that carries ``debs``."""
    world = World()
    for name, data in debs.items():
        path = f"pool/main/{name}_1.0_amd64.deb"
        world.files[f"/debian/{path}"] = data
        control = dict(
            line.split(": ", 1) for line in control_of(data).splitlines() if ": " in line and line[0] != " "
        )
        digest = hashlib.sha256(data).hexdigest()
        world.packages["trixie"].append(
            control | {"Filename": path, "Size": str(len(data)), "SHA256": digest}
        )
    patience = Patience(connect=2, stall=2, attempts=2, backoff=0.001)
    with serve(world.publish()) as server:
        yield Archive(
            cache=cache,
            mirrors=[server.mirror],
            keyring=world.keyring,
            patience=patience,
            now=lambda: NOW,  # type: ignore[arg-type]
        )


def control_of(data: bytes) -> str:
    """The control paragraph of a package made by :func:`deb`."""
    start = data.index(b"Package: ")
    return data[start : data.index(b"\0", start)].decode()


def read_tar(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {info.name: info for info in tar}


def read_cpio(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """newc: name -> mode, contents, device; checks the paddings and the end."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    place = 0
    while True:
        assert data[place : place + 6] == b"070701"
        fields = [int(data[place + 6 + 8 * i : place + 14 + 8 * i], 16) for i in range(13)]
        mode, size, names = fields[1], fields[6], fields[11]
        name = data[place + 110 : place + 110 + names - 1].decode()
        start = place + 110 + names + (-(110 + names) % 4)
        place = start + size + (-size % 4)
        if name == "TRAILER!!!":
            assert not data[place:].strip(b"\0")
            return found
        found[name] = mode, data[start : start + size], (fields[9], fields[10])
