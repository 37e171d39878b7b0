# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from cove.errors import NotFoundError, UsageError
from cove.machine.boot.contents import HEAD
from cove.machine.boot.look import Found, disk_of, examine, look
from cove.spec.boot import BootRequest, Disk, Kernel

from .test_contents import at, elf

BZIMAGE = at((0x202, b"HdrS"), (510, b"\x55\xaa"))
BIOS_DISK = at((0, b"\xfa"), (510, b"\x55\xaa"))


def never(*_arguments: Any) -> None:
    raise AssertionError("no other program is needed")


def find(image: Path, **more: Any) -> Found:
    return look(BootRequest(image=image, **more), never)


def put(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        (folder / name.replace("_", "-").replace("DOT", ".")).write_bytes(data)


def test_kernel_and_initrd(tmp_path: Path) -> None:
    put(tmp_path, x_kernel=BZIMAGE, x_initrdDOTimg=b"070701", x_cmdline=b"console=ttyS0 a=1\n")
    found = find(tmp_path / "x")
    assert found.kernel == Kernel(
        image=tmp_path / "x-kernel", initrd=tmp_path / "x-initrd.img", cmdline="console=ttyS0 a=1"
    )
    assert (found.architecture, found.uml, found.disks) == ("x86_64", False, ())
    assert find(tmp_path / "x", cmdline="b").kernel == Kernel(
        image=tmp_path / "x-kernel", initrd=tmp_path / "x-initrd.img", cmdline="b"
    )


@pytest.mark.parametrize(
    ("kind", "kernel", "device"),
    [("squashfs", BZIMAGE, "/dev/vda"), ("erofs", BZIMAGE, "/dev/vda"), ("squashfs", elf(3), "/dev/ubda")],
)
def test_kernel_and_root(tmp_path: Path, kind: str, kernel: bytes, device: str) -> None:
    put(tmp_path, x_kernel=kernel, x_cmdline=b"a=1")
    (tmp_path / f"x-{kind}.img").write_bytes(b"hsqs")
    found = find(tmp_path / "x")
    assert found.kernel is not None
    assert found.kernel.cmdline == f"a=1 root={device} rootfstype={kind} ro"
    assert found.disks == (Disk(path=tmp_path / f"x-{kind}.img", read_only=True),)
    assert find(tmp_path / "x", cmdline="root=/dev/sda").kernel.cmdline == "root=/dev/sda"  # type: ignore[union-attr]


def test_a_root_that_needs_a_first_stage(tmp_path: Path) -> None:
    put(tmp_path, x_kernel=BZIMAGE, x_cmdline=b"")
    (tmp_path / "x-erofs.img").write_bytes(b"")
    (tmp_path / "x-stage.img").write_bytes(b"070701")
    found = find(tmp_path / "x")
    assert found.kernel is not None
    assert found.kernel.initrd == tmp_path / "x-stage.img"
    assert found.disks == (Disk(path=tmp_path / "x-erofs.img", read_only=True),)


def test_a_kernel_alone(tmp_path: Path) -> None:
    put(tmp_path, vmlinuz=BZIMAGE, i=b"070701", um=elf(3))
    found = find(tmp_path / "vmlinuz", initrd=tmp_path / "i", cmdline="quiet")
    assert found.kernel == Kernel(image=tmp_path / "vmlinuz", initrd=tmp_path / "i", cmdline="quiet")
    assert find(tmp_path / "um").uml
    with pytest.raises(NotFoundError, match="no file"):
        find(tmp_path / "vmlinuz", initrd=tmp_path / "none")


def test_disks_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "x-bios.img").write_bytes(BIOS_DISK)
    found = find(tmp_path / "x")
    assert found.disks == (Disk(path=tmp_path / "x-bios.img"),)
    assert found.boots == {"bios"}
    (tmp_path / "x.qcow2").write_bytes(b"QFI\xfb")
    with pytest.raises(UsageError, match="several") as caught:
        find(tmp_path / "x")
    assert "x-bios.img" in str(caught.value.details)


def test_an_iso(tmp_path: Path) -> None:
    validation = bytes([1, 0]) + bytes(28) + b"\x55\xaa" + b"\x88".ljust(32, b"\0")
    record = b"\0CD001\x01EL TORITO SPECIFICATION".ljust(71, b"\0") + struct.pack("<I", 20)
    put(tmp_path, xDOTiso=at((0x8001, b"CD001"), (17 * 2048, record), (20 * 2048, validation)))
    found = find(tmp_path / "x.iso")
    assert found.disks == (Disk(path=tmp_path / "x.iso", read_only=True, cdrom=True),)
    assert found.boots == {"bios"}


def test_other_formats_are_read_by_qemu_img(tmp_path: Path) -> None:
    put(tmp_path, xDOTqcow2=b"QFI\xfb".ljust(200, b"\0"))
    asked = []

    def read_head(path: Path, form: str, into: Path) -> None:
        asked.append((path, form))
        into.write_bytes(BIOS_DISK)

    found = look(BootRequest(image=tmp_path / "x.qcow2"), read_head)
    assert asked == [(tmp_path / "x.qcow2", "qcow2")]
    assert found.boots == {"bios"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hsqs", "root file system"),
        (b"070701", "initramfs"),
        (at((257, b"ustar")), "tar"),
        (b"text", "neither a kernel"),
    ],
)
def test_nothing_to_boot(tmp_path: Path, data: bytes, why: str) -> None:
    put(tmp_path, odd=data)
    with pytest.raises(UsageError, match=why):
        find(tmp_path / "odd")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no image") as caught:
        find(tmp_path / "x")
    assert "x-kernel" in str(caught.value.details)
    with pytest.raises(UsageError, match="is a folder"):
        find(tmp_path)
    with pytest.raises(NotFoundError):
        examine(tmp_path / "none")


def test_a_disk_takes_no_command_line(tmp_path: Path) -> None:
    put(tmp_path, disk=BIOS_DISK)
    with pytest.raises(UsageError, match="brings its own kernel"):
        find(tmp_path / "disk", cmdline="x")


def backed(name: bytes) -> bytes:
    return struct.pack(">4sIQI", b"QFI\xfb", 3, 104, len(name)).ljust(104, b"\0") + name


def test_a_raw_disk_on_which_a_guest_wrote_a_qcow2(tmp_path: Path) -> None:
    put(tmp_path, diskDOTimg=backed(b"/etc/shadow"), plainDOTimg=b"QFI\xfb".ljust(104, b"\0"))
    disk = tmp_path / "disk.img"
    with pytest.raises(UsageError, match="claims to be a qcow2 that builds on /etc/shadow"):
        disk_of(disk, None, examine(disk))
    assert disk_of(disk, "raw", examine(disk)).references == ()
    assert disk_of(tmp_path / "plain.img", None, examine(tmp_path / "plain.img")).format == "qcow2"


def test_what_a_qcow2_builds_on(tmp_path: Path) -> None:
    put(
        tmp_path,
        topDOTqcow2=backed(b"middle.qcow2"),
        middleDOTqcow2=backed(b"base.img"),
        baseDOTimg=bytes(HEAD),
    )
    top = tmp_path / "top.qcow2"
    assert disk_of(top, None, examine(top)).references == (tmp_path / "middle.qcow2", tmp_path / "base.img")
    put(tmp_path, loopDOTqcow2=backed(b"loop.qcow2"))
    assert disk_of(tmp_path / "loop.qcow2", "qcow2", examine(tmp_path / "loop.qcow2")).references
