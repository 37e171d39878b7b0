# SPDX-License-Identifier: Apache-2.0
"""Disks and ISOs of `cove build`: the same bytes for everybody, sound for other programs, and booted."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cove.debian.archive import Archive
from cove.debian.unpack import extract
from tests.integration.guests import HELLO, GuestMaker
from tests.integration.world import COVE, Home
from tests.unit.image.oci.layouts import LayoutMaker, layer_tar, member

FORMATS = {
    "raw-bios": "-bios.img", "raw-efi": "-efi.img", "iso-bios": ".iso", "iso-efi": "-efi.iso", "qcow2-bios": ".qcow2",
    "qcow2-efi": "-efi.qcow2", "vmdk": ".vmdk", "vhd": ".vhd",
}  # fmt: skip
YML = """
kernel:
  image: tests/kernel:1
  cmdline: "console=ttyS0 quiet then=poweroff no_timer_check"
  tar: none
init:
  - tests/init:1
"""


@pytest.fixture(scope="module")
def maker(shared: Home) -> Iterator[GuestMaker]:
    maker = GuestMaker(shared)
    yield maker
    maker.close()


@pytest.fixture(scope="module")
def source(maker: GuestMaker) -> Path:
    """A YAML and an OCI layout of the guest: the kernel in one image, everything else in another."""
    layout = LayoutMaker(maker.folder / "layout")
    layout.image("docker.io/tests/kernel:1", layer_tar(member("kernel", maker.pc.kernel.read_bytes())))
    files = [
        member(node.path, node.data, mode=node.mode & 0o777)
        if node.mode >> 12 == 0o10
        else member(node.path, type=b"2", linkname=node.data.decode())
        if node.mode >> 12 == 0o12
        else member(f"{node.path}/")
        for node in maker.pc.nodes
        if node.path != "dev/console"
    ]
    layout.image("docker.io/tests/init:1", layer_tar(*files))
    (maker.folder / "x.yml").write_text(YML)
    return maker.folder


def build(home: Home, source: Path, into: Path, **env: str) -> dict[str, Path]:
    into.mkdir()
    argv = [
        str(COVE),
        "build",
        "--images",
        str(source / "layout"),
        "--dir",
        str(into),
        "-f",
        ",".join(FORMATS),
    ]
    subprocess.run([*argv, str(source / "x.yml")], env={**home.environment, **env}, check=True, timeout=280)
    return {name: into / f"x{end}" for name, end in FORMATS.items()}


@pytest.fixture(scope="module")
def built(shared: Home, source: Path) -> dict[str, Path]:
    return build(shared, source, source / "built")


def test_the_same_for_everybody(shared: Home, source: Path, built: dict[str, Path], tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        again = build(shared, source, tmp_path / "again", TZ="Asia/Tokyo", LC_ALL="C.UTF-8")
    finally:
        os.umask(before)
    for name, path in built.items():
        assert digest(path) == digest(again[name]), name


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def boots(home: Home, image: Path, *, uefi: bool) -> None:
    done = home.cove("boot", image.name, "--accel", "tcg", "--memory", "512", "--networking", "none", deadline=280,
                     cwd=image.parent)  # fmt: skip
    assert HELLO.encode() in done.stdout
    assert (b"booted by UEFI" in done.stdout) == uefi


@pytest.mark.parametrize("name", ["raw-efi", "iso-bios", "raw-bios"])
def test_it_boots(shared: Home, built: dict[str, Path], name: str) -> None:
    boots(shared, built[name], uefi=name.endswith("efi"))


@pytest.mark.parametrize("name", sorted({*FORMATS} - {"raw-efi", "iso-bios", "raw-bios"}))
def test_the_others_boot_under_qemu(shared: Home, built: dict[str, Path], name: str) -> None:
    boots(shared, built[name], uefi=name.endswith("efi"))


def test_an_iso_on_a_disk_boots_under_qemu(shared: Home, built: dict[str, Path], tmp_path: Path) -> None:
    image = tmp_path / "stick.img"
    shutil.copyfile(built["iso-bios"], image)
    done = shared.cove(
        "boot",
        str(image),
        "--format",
        "raw",
        "--accel",
        "tcg",
        "--memory",
        "512",
        "--networking",
        "none",
        deadline=280,
    )
    assert HELLO.encode() in done.stdout


def test_a_yaml_file_is_built_and_booted_under_qemu(shared: Home, source: Path) -> None:
    done = shared.cove(
        "boot", "x.yml", "--images", "layout", "--accel", "tcg", "--memory", "512", "--networking", "none",
        deadline=280, cwd=source,
    )  # fmt: skip
    assert HELLO.encode() in done.stdout
    assert list((shared.root / "b").iterdir()) == []


def test_fsck_finds_nothing(maker: GuestMaker, built: dict[str, Path], tmp_path: Path) -> None:
    archive: Archive = maker.archive()
    lock = archive.resolve(("dosfstools",))
    for deb in archive.fetch(lock).values():
        extract(deb, tmp_path / "tools")
    libraries = tmp_path / "tools/usr/lib/x86_64-linux-gnu"
    fsck = [
        libraries / "ld-linux-x86-64.so.2",
        "--library-path",
        libraries,
        tmp_path / "tools/usr/sbin/fsck.fat",
    ]
    for name in ("raw-bios", "raw-efi"):
        partition = tmp_path / "partition"
        with built[name].open("rb") as disk, partition.open("wb") as out:
            disk.seek(1 << 20)
            shutil.copyfileobj(disk, out)
        done = subprocess.run(
            [*map(str, fsck), "-nv", str(partition)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "clusters" in done.stdout
