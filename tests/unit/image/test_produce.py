# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from cove.errors import NotFoundError, UsageError
from cove.image.formats.names import choose_formats
from cove.image.linuxkit.config import load_config
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform
from cove.image.produce import Order, produce

from .oci.layouts import LayoutMaker, layer_tar, member

YAML = "kernel: {image: fake/kernel:1, cmdline: quiet, tar: '', ucode: u}\ninit: [fake/init:1]"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    maker = LayoutMaker(tmp_path / "layout")
    maker.image("docker.io/fake/kernel:1", layer_tar(member("u", b"UCODE"), member("kernel", b"KERNEL")))
    maker.image("docker.io/fake/init:1", layer_tar(member("init", b"#!/bin/sh\n", mode=0o755)))
    return Layout(maker.folder)


def make(layout: Layout, folder: Path, formats: str, yaml: str = YAML, **more: object) -> list[Path]:
    order = Order(
        config=load_config([("x.yml", yaml)]),
        platform=Platform(architecture="amd64"),
        formats=choose_formats([formats], output=str(more.get("output", ""))),
        folder=folder,
        name="out",
        **more,  # type: ignore[arg-type]
    )
    return produce(order, [layout], lambda _event: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


def test_kernel_and_initrd(layout: Layout, folder: Path) -> None:
    made = make(layout, folder, "kernel+initrd")
    assert sorted(path.name for path in folder.iterdir()) == ["out-cmdline", "out-initrd.img", "out-kernel"]
    assert set(made) == set(folder.iterdir())
    assert (folder / "out-kernel").read_bytes() == b"KERNEL"
    assert (folder / "out-cmdline").read_bytes() == b"quiet"
    initrd = (folder / "out-initrd.img").read_bytes()
    assert initrd.startswith(b"UCODE\x1f\x8b")
    assert b"#!/bin/sh" in gzip.decompress(initrd.removeprefix(b"UCODE"))


def test_what_is_empty_is_not_written(layout: Layout, folder: Path) -> None:
    make(layout, folder, "kernel+initrd", "init: [fake/init:1]")
    assert [path.name for path in folder.iterdir()] == ["out-initrd.img"]


def test_both_forms_of_the_initrd_at_once(layout: Layout, folder: Path) -> None:
    make(layout, folder, "kernel+initrd,tar-kernel-initrd")
    with tarfile.open(folder / "out-initrd.tar") as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        assert {member.mtime for member in tar} == {1492533000}
    assert list(found) == ["kernel", "initrd.img", "cmdline", "ucode.cpio"]
    assert found["ucode.cpio"] + found["initrd.img"] == (folder / "out-initrd.img").read_bytes()


def test_tar_docker_and_stdout(
    layout: Layout, folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert make(layout, folder, "tar") == [folder / "out.tar"]
    assert make(layout, folder, "docker") == [folder / "out.docker"]
    with tarfile.open(folder / "out.docker") as tar:
        assert tar.getnames()[-1] == "Dockerfile"
    assert make(layout, folder, "tar", output=str(folder / "named")) == [folder / "named"]
    assert make(layout, folder, "tar", output="-") == []
    written = capsysbinary.readouterr().out
    assert written == (folder / "named").read_bytes() == (folder / "out.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(written)) as tar:
        assert "boot/kernel" in tar.getnames()


def test_a_failed_build_leaves_what_was_there(layout: Layout, folder: Path) -> None:
    (folder / "out.tar").write_bytes(b"old")
    blob = max((layout.path / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"damaged")
    with pytest.raises(Exception, match="damaged"):
        make(layout, folder, "tar")
    assert [path.name for path in folder.iterdir()] == ["out.tar"]
    assert (folder / "out.tar").read_bytes() == b"old"


def test_places_that_cannot_be_written(layout: Layout, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no folder"):
        make(layout, tmp_path / "absent", "tar")
    (folder / "out.tar").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        make(layout, folder, "tar")


@pytest.mark.parametrize(
    ("formats", "output", "message"),
    [("floppy", "", "unknown format 'floppy'"), ("tar,kernel+initrd", "", "must be the only format"),
     ("kernel+initrd", "x", "does not go with format")],
)  # fmt: skip
def test_formats_that_do_not_go_together(formats: str, output: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_formats([formats], output=output)


def test_formats_by_default() -> None:
    assert [one.name for one in choose_formats([], output="")] == ["kernel+initrd"]
    assert [one.name for one in choose_formats([], output="x")] == ["tar"]


def test_packages_of_a_kernel_image_are_in_the_bill(tmp_path: Path, folder: Path) -> None:
    maker = LayoutMaker(tmp_path / "one")
    record = member(
        "var/lib/dpkg/status.d/linux",
        b"Package: linux-image\nStatus: install ok installed\nVersion: 6.1\nArchitecture: amd64\n",
    )
    maker.image("docker.io/fake/kernel:1", layer_tar(record, member("kernel", b"KERNEL")))
    yaml = "kernel: {image: fake/kernel:1, tar: ''}"
    made = make(Layout(maker.folder), folder, "tar", yaml, sbom="sbom.spdx.json")
    with tarfile.open(made[0]) as tar:
        assert tar.getnames() == ["boot", "boot/cmdline", "boot/kernel", "sbom.spdx.json"]
        bill = tar.extractfile("sbom.spdx.json")
        assert bill is not None
        assert b"linux-image" in bill.read()
