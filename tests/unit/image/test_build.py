# SPDX-License-Identifier: Apache-2.0
"""Whole images, built of a signed archive on loopback; kernel, erofs and guest_image too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from cove.debian.archive import Archive
from cove.errors import CommandError, NotFoundError, UsageError
from cove.events import silent
from cove.image.build import build_guest
from cove.image.entries import file
from cove.image.erofs import erofs_command, make_erofs
from cove.image.guest_image import GuestImage, find_guest, request_key
from cove.image.kernel import kernel_packages, take_kernel
from cove.image.recipe import Kernel
from cove.image.spool import write_tar
from cove.system.process import Command

from .parts import COPY_TAR, deb, kernel_debs, read_cpio, read_tar, shelf

RECIPE = """\
kernel: {package: linux-image-test, cmdline: quiet, modules: [over-lay, ext4]}
packages:
  include: [app]
  drop: ["usr/lib/modules/*/kernel/sound/**", "usr/share/doc/**"]
files:
  - {path: etc/motd, source: motd, mode: "0644"}
"""


class Shop:
    """A folder with recipe and sources, and an archive."""

    def __init__(self, root: Path, archive: Archive) -> None:
        self.root, self.archive = root, archive
        self.sources = root / "sources"
        (self.sources / "rootfs/initramfs").mkdir(parents=True)
        (self.sources / "rootfs/initramfs/init").write_text("#!/bin/busybox sh\n")
        (self.sources / "motd").write_text("welcome\n")
        self.recipe = root / "guest.yml"
        self.recipe.write_text(RECIPE)

    def build(self, images: str = "images", mkfs: Command = COPY_TAR) -> GuestImage:
        return build_guest(
            recipes=[self.recipe], sources=self.sources, archive=self.archive, mkfs_erofs=mkfs,
            images=self.root / images, report=silent,
        )  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    debs = kernel_debs() | {
        "app": deb("app", {"usr/bin/app": b"app", "usr/share/doc/app/x": b""}, fields="Depends: libapp\n"),
        "libapp": deb("libapp", {"lib/libapp.so": b"lib"}),
    }
    with shelf(debs, tmp_path_factory.mktemp("cache")) as found:
        found.resolve(["app"])
        yield found


@pytest.fixture
def shop(tmp_path: Path, archive: Archive) -> Shop:
    return Shop(tmp_path, archive)


def test_an_image(shop: Shop) -> None:
    image = shop.build()
    assert image == GuestImage.load(image.folder)
    assert (image.cmdline, image.kernel_release) == ("quiet", "6.1-test")
    assert (image.kernel_package.name, image.kernel_path) == ("linux-image-6.1-test", "boot/vmlinuz-6.1-test")
    assert image.kernel is not None
    assert image.kernel.read_bytes() == b"the kernel"
    names = [package["name"] for package in json.loads(image.lock.read_text())["packages"]]
    assert names == ["app", "busybox-static", "libapp", "linux-image-6.1-test", "linux-image-test"]
    assert sorted(path.name for path in image.folder.parent.iterdir() if path.is_dir()) == [image.id]


def test_its_root(shop: Shop) -> None:
    found = read_tar(shop.build().root)
    top = "usr/lib/modules/6.1-test"
    assert {
        "usr/bin/app",
        "usr/lib/libapp.so",
        "etc/motd",
        "etc/passwd",
        "usr/share/cove/lock.json",
    } <= found.keys()
    assert {f"{top}/kernel/fs/over-lay.ko.xz", f"{top}/modules.dep", f"{top}/modules.builtin"} <= found.keys()
    for absent in ("usr/bin/linux-base", "boot/config-6.1-test", "usr/share/doc/app/x", "usr/bin/busybox"):
        assert absent not in found
    assert f"{top}/kernel/sound/loud.ko.xz" not in found
    assert found["lib"].linkname == "usr/lib"


def test_its_initramfs(shop: Shop) -> None:
    found = read_cpio(shop.build().initrd.read_bytes())
    assert found["modules.list"][1] == b"/modules/lib_b.ko\n/modules/over_lay.ko\n"
    assert found["modules/over_lay.ko"][1].startswith(b"\x7fELF")
    assert found["init"][1] == b"#!/bin/busybox sh\n"


def test_user_mode_linux(shop: Shop) -> None:
    shop.recipe.write_text("kernel: {package: user-mode-linux, modules: [erofs]}\n")
    image = shop.build()
    assert (image.kernel_release, image.kernel_path) == ("6.2-uml", "usr/bin/linux.uml")
    found = read_tar(image.root)
    assert "usr/lib/modules/6.2-uml/kernel/erofs.ko" in found
    assert "usr/lib/modules/6.2-uml/modules.dep.bin" not in found
    assert "usr/bin/linux.uml" not in found
    shop.recipe.write_text("kernel: {package: user-mode-linux, external: true}\n")
    external = shop.build()
    assert external.kernel is None
    assert external.kernel_sha256 == image.kernel_sha256


def test_the_same_bytes_again(shop: Shop) -> None:
    first, second = shop.build("one"), shop.build("two")
    for path in first.folder.iterdir():
        assert path.read_bytes() == (second.folder / path.name).read_bytes(), path.name


def test_what_is_built_is_found_without_the_archive(shop: Shop) -> None:
    key = request_key([shop.recipe], shop.sources)
    images = shop.root / "images"
    assert find_guest(images, key) is None
    image = shop.build()
    assert find_guest(images, key) == image
    assert shop.build() == image
    (image.folder / "kernel").unlink()
    assert find_guest(images, key) is None
    with pytest.raises(NotFoundError):
        GuestImage.load(image.folder)
    assert shop.build().kernel is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda shop: shop.recipe.write_text(RECIPE + "  - {path: x, directory: true}\n"),
        lambda shop: (shop.sources / "motd").write_text("other\n"),
        lambda shop: (shop.sources / "rootfs/initramfs/init").write_text("other\n"),
    ],
)
def test_a_change_makes_another_image(shop: Shop, change: Callable[[Shop], object]) -> None:
    first, key = shop.build(), request_key([shop.recipe], shop.sources)
    change(shop)
    assert request_key([shop.recipe], shop.sources) != key
    assert shop.build().id != first.id


def test_a_comment_makes_no_other_image(shop: Shop) -> None:
    first = shop.build()
    shop.recipe.write_text("# a comment\n" + RECIPE)
    assert shop.build().id == first.id


def test_a_failed_build_leaves_nothing(shop: Shop) -> None:
    with pytest.raises(CommandError):
        shop.build(mkfs=Command(("/bin/false",), {}))
    assert [path.name for path in (shop.root / "images").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("packages: {include: [app]}", "no kernel.package"),
        ("kernel: {package: linux-image-test, init: nothing}", "no init script"),
        ("kernel: {package: app}", "app holds no kernel"),
        ("kernel: {package: linux-image-test, binary: boot/none}", "linux-image-test holds no kernel"),
        ("kernel: {package: linux-image-test}\nfiles: [{path: x, source: gone}]", "'gone' does not exist"),
    ],
)
def test_recipes_that_cannot_be_built(shop: Shop, recipe: str, message: str) -> None:
    shop.recipe.write_text(recipe)
    with pytest.raises(UsageError, match=message):
        shop.build()


def test_only_the_kernels_of_a_closure_are_taken(archive: Archive) -> None:
    lock = archive.resolve(["linux-image-test"])
    names = [p.name for p in kernel_packages(lock, Kernel(package="linux-image-test"))]
    assert names == ["linux-image-6.1-test", "linux-image-test"]


def test_a_kernel_elsewhere_in_its_package(archive: Archive) -> None:
    package = archive.resolve(["app"]).packages[0]
    entries = [replace(file("opt/bzImage", b"k"), origin="app"), file("lib/modules/7/kernel/x.ko", b"")]
    kernel = take_kernel(Kernel(package="app", binary="/opt/bzImage"), [(package, entries)])
    assert (kernel.release, kernel.modules[0].path) == ("7", "usr/lib/modules/7/kernel/x.ko")


def test_the_command_of_mkfs() -> None:
    command = erofs_command(
        Command(("mkfs.erofs",), {}), tar=Path("/t.tar"), into=Path("/r"), uuid=UUID(int=7), compression="lz4"
    )
    assert " ".join(command.argv) == (
        "mkfs.erofs --quiet -x-1 -T1492533000 --all-time -U00000000-0000-0000-0000-000000000007 -zlz4 --tar=f /r /t.tar"
    )


@pytest.mark.skipif(shutil.which("mkfs.erofs") is None, reason="needs mkfs.erofs 1.8 on the PATH")
def test_a_real_erofs(tmp_path: Path) -> None:
    mkfs = Command((shutil.which("mkfs.erofs") or "",), {})
    write_tar([file("x", "hello")], tmp_path / "t.tar")
    for name in ("1", "2"):
        make_erofs(mkfs, tar=tmp_path / "t.tar", into=tmp_path / name, uuid=UUID(int=7))
    data = (tmp_path / "1").read_bytes()
    assert data[1024:1028] == bytes.fromhex("e2e1f5e0")
    assert data == (tmp_path / "2").read_bytes()
