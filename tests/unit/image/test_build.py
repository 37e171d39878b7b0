# SPDX-License-Identifier: Apache-2.0
"""Guests of machines, built of a signed archive on loopback; kernel, erofs and guest_image too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from cove.debian.archive import Archive
from cove.errors import CommandError, CoveError, NotFoundError
from cove.events import silent
from cove.image.build import FIRST_STAGE, GuestFiles, build_guest, request_of
from cove.image.entries import file
from cove.image.erofs import erofs_command, make_erofs
from cove.image.guest_image import GuestImage, find_guest, request_key
from cove.image.kernel import kernel_packages, take_kernel
from cove.image.oci.layout import Layout
from cove.image.spool import write_tar
from cove.system.process import Command

from .oci.layouts import LayoutMaker, layer_tar, member
from .parts import COPY_TAR, deb, kernel_debs, read_cpio, read_tar, shelf

KERNEL = "kernel: {package: linux-image-test, cmdline: quiet, modules: [over-lay, ext4]}\n"
AGENT = """
  - {path: usr/lib/cove/cove_guest/__main__.py, source: agent.py}
  - {path: usr/lib/cove/boot, contents: boots, mode: "0755"}
  - {path: sbin/init, symlink: /bin/app}
"""
RECIPE = f"""\
{KERNEL}
packages:
  include: [app]
  drop: ["usr/lib/modules/*/kernel/sound/**", "usr/share/doc/**"]
files:
  - {{path: etc/motd, source: motd, mode: "0644"}}
{AGENT}"""


class Tools:
    """A toolbox with one program."""

    def __init__(self, mkfs: Command) -> None:
        self._mkfs = mkfs

    def command(self, group: str, name: str) -> Command:
        assert (group, name) == ("image", "mkfs.erofs")
        return self._mkfs

    def file(self, group: str, path: str) -> Path:
        raise AssertionError((group, path))


class Shop:
    """A folder with recipe and sources, and an archive."""

    def __init__(self, root: Path, archive: Archive) -> None:
        self.root, self.archive = root, archive
        self.sources = root / "sources"
        (self.sources / FIRST_STAGE).parent.mkdir(parents=True)
        (self.sources / FIRST_STAGE).write_text("#!/bin/busybox sh\n")
        (self.sources / "motd").write_text("welcome\n")
        (self.sources / "agent.py").write_text("print()\n")
        self.recipe = root / "guest.yml"
        self.recipe.write_text(RECIPE)
        self.layout = LayoutMaker(root / "layout")

    @property
    def files(self) -> GuestFiles:
        return GuestFiles(files=(self.recipe,), base=self.sources, own=self.sources)

    def key(self) -> str:
        return request_key([self.recipe], self.sources)

    def build(
        self, images: str = "images", mkfs: Command = COPY_TAR, files: GuestFiles | None = None
    ) -> GuestImage:
        return build_guest(
            guest=files or self.files, request=self.key(), sources=[Layout(self.layout.folder)],
            archive=self.archive, tools=Tools(mkfs), images=self.root / images, report=silent,
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
    shop.recipe.write_text("kernel: {package: user-mode-linux, modules: [erofs]}\nfiles:" + AGENT)
    image = shop.build()
    assert (image.kernel_release, image.kernel_path) == ("6.2-uml", "usr/bin/linux.uml")
    found = read_tar(image.root)
    assert "lib/modules/6.2-uml/kernel/erofs.ko" in found
    assert "lib/modules/6.2-uml/modules.dep.bin" not in found
    assert "usr/bin/linux.uml" not in found
    shop.recipe.write_text("kernel: {package: user-mode-linux, external: true}\nfiles:" + AGENT)
    external = shop.build()
    assert external.kernel is None
    assert external.kernel_sha256 == image.kernel_sha256


def test_the_same_bytes_again(shop: Shop) -> None:
    first, second = shop.build("one"), shop.build("two")
    for path in first.folder.iterdir():
        assert path.read_bytes() == (second.folder / path.name).read_bytes(), path.name


def test_what_is_built_is_found_without_the_archive(shop: Shop) -> None:
    key = shop.key()
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
        lambda shop: (shop.sources / FIRST_STAGE).write_text("other\n"),
    ],
)
def test_a_change_makes_another_image(shop: Shop, change: Callable[[Shop], object]) -> None:
    first, key, request = shop.build(), shop.key(), request_of(shop.files, "amd64")
    change(shop)
    assert shop.key() != key
    assert request_of(shop.files, "amd64") != request
    assert shop.build().id != first.id


def test_a_comment_makes_no_other_image(shop: Shop) -> None:
    first, request = shop.build(), request_of(shop.files, "amd64")
    shop.recipe.write_text("# a comment\n" + RECIPE)
    assert shop.build().id == first.id
    assert request_of(shop.files, "amd64") == request


def test_a_failed_build_leaves_nothing(shop: Shop) -> None:
    with pytest.raises(CommandError):
        shop.build(mkfs=Command(("/bin/false",), {}))
    assert [path.name for path in (shop.root / "images").iterdir()] == [".lock"]


def test_images_are_parts_of_guests_too(shop: Shop) -> None:
    agent = [
        member("usr/lib/cove/cove_guest/__main__.py", b"#"),
        member("usr/lib/cove/boot", b"#", mode=0o755),
    ]
    shop.layout.image("docker.io/fake/agent:1", layer_tar(*agent, member("usr/sbin/init", b"#", mode=0o755)))
    shop.recipe.write_text(KERNEL + "init: [fake/agent:1]\npackages: {include: [app]}")
    first = shop.build()
    assert {"usr/lib/cove/boot", "usr/sbin/init", "usr/bin/app"} <= read_tar(first.root).keys()
    # the same name for another image
    shop.layout = LayoutMaker(shop.root / "other")
    shop.layout.image("docker.io/fake/agent:1", layer_tar(*agent, member("usr/sbin/init", b"2", mode=0o755)))
    assert shop.build().id != first.id


def test_a_guest_without_a_kernel_gets_its_drivers(shop: Shop) -> None:
    mine, kernel = shop.root / "mine.yml", shop.root / "kernel.yml"
    mine.write_text("packages: {include: [app]}\nfiles:" + AGENT)
    kernel.write_text(KERNEL)
    files = GuestFiles(files=(mine,), base=shop.sources, kernel=(kernel,), own=shop.sources, custom=True)
    assert shop.build(files=files).cmdline == "quiet"
    mine.write_text("kernel: {package: linux-image-test, cmdline: mine, init: motd}\nfiles:" + AGENT)
    image = shop.build(files=files)
    assert image.cmdline == "mine"
    assert read_cpio(image.initrd.read_bytes())["init"][1] == b"welcome\n"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("packages: {include: [app]}", "no kernel.package"),
        ("kernel: {image: a/kernel:1}", "comes from a Debian package"),
        ("kernel: {package: linux-image-test, init: nothing}", "no init script"),
        ("kernel: {package: app}", "app holds no kernel"),
        ("kernel: {package: linux-image-test, binary: boot/none}", "linux-image-test holds no kernel"),
        ("kernel: {package: linux-image-test}\nfiles: [{path: x, source: gone}]", "'gone' does not exist"),
        (RECIPE.replace("cove_guest/", "other/"), "has no agent"),
        (RECIPE.replace("sbin/init", "usr/other"), "has no init"),
    ],
)
def test_guests_that_cannot_be_built(shop: Shop, recipe: str, message: str) -> None:
    shop.recipe.write_text(recipe)
    with pytest.raises(CoveError, match=message):
        shop.build()
    images = shop.root / "images"
    assert not images.exists() or [path.name for path in images.iterdir()] == [".lock"]


def test_only_the_kernels_of_a_closure_are_taken(archive: Archive) -> None:
    lock = archive.resolve(["linux-image-test"])
    names = [p.name for p in kernel_packages(lock, "linux-image-test")]
    assert names == ["linux-image-6.1-test", "linux-image-test"]


def test_a_kernel_elsewhere_in_its_package(archive: Archive) -> None:
    package = archive.resolve(["app"]).packages[0]
    entries = [replace(file("opt/bzImage", b"k"), origin="app"), file("lib/modules/7/kernel/x.ko", b"")]
    kernel = take_kernel("app", [(package, entries)], binary="/opt/bzImage")
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
