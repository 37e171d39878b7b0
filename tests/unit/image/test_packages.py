# SPDX-License-Identifier: Apache-2.0
"""Debian packages in LinuxKit YAML, from a signed archive on loopback."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cove.debian.archive import Archive
from cove.errors import NotFoundError, UsageError
from cove.image.formats.names import choose_formats
from cove.image.linuxkit.config import load_config
from cove.image.oci.layout import Layout
from cove.image.oci.model import ImageSource, Platform
from cove.image.produce import Order, produce
from cove.image.tar.header import Header
from cove.image.tar.reader import read_tar
from cove.system.process import Command

from .oci.layouts import LayoutMaker, layer_tar, member
from .parts import COPY_TAR, deb, kernel_debs, read_cpio, shelf

COPYRIGHT = b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: Expat\n"
YAML = """
kernel: {package: linux-image-test, cmdline: quiet, modules: [over-lay]}
packages: {include: [app], drop: ["usr/share/doc/**", "usr/lib/modules/*/kernel/sound/**"]}
files: [{path: usr/bin/app, contents: mine, mode: "0755"}]
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    debs = kernel_debs() | {
        "app": deb(
            "app",
            {
                "usr/bin/app": b"app",
                "usr/bin/again": "=usr/bin/app",
                "usr/share/doc/app/copyright": COPYRIGHT,
            },
            fields="Depends: libapp\n",
        ),
        "libapp": deb("libapp", {"lib/libapp.so": b"lib", "usr/share/doc/libapp": "->app"}),
    }
    with shelf(debs, tmp_path_factory.mktemp("cache")) as found:
        yield found


def build(
    archive: Archive, folder: Path, text: str = YAML, *, sources: list[ImageSource] | None = None, **more: Any
) -> list[Path]:
    order = Order(
        config=load_config([("x.yml", text)]),
        platform=Platform(architecture="amd64"),
        formats=choose_formats([more.pop("formats", "tar")], output=""),
        folder=folder,
        name="out",
        **{"sbom": "sbom.spdx.json", **more},
    )
    return produce(order, sources or [], lambda _event: None, lambda: archive)


def entries(path: Path) -> list[tuple[Header, bytes]]:
    return [(header, b"".join(data.chunks())) for header, data in read_tar(io.BytesIO(path.read_bytes()))]


def test_packages_make_a_root_with_kernel_and_lock(archive: Archive, tmp_path: Path) -> None:
    [path] = build(archive, tmp_path)
    made = entries(path)
    names = [header.name for header, _ in made]
    assert names[:3] == ["boot", "boot/cmdline", "boot/kernel"]
    last = {header.name: (header, data) for header, data in made}
    assert last["boot/kernel"][1] == b"the kernel"
    assert last["usr/lib/libapp.so"][1] == b"lib"
    assert last["usr/bin/app"][1] == b"mine"
    assert (last["lib"][0].kind, last["lib"][0].link) == ("2", "usr/lib")
    assert last["tmp"][0].mode == 0o1777
    assert "usr/lib/modules/6.1-test/modules.dep" in names
    assert not any("usr/share/doc" in name for name in names)
    again = last["usr/bin/again"][0]
    assert {again.kind, next(h.kind for h, _ in made if h.name == "usr/bin/app")} == {"0", "1"}
    assert json.loads(last["usr/share/cove/lock.json"][1])["packages"][0]["name"] == "app"
    source = last["usr/lib/libapp.so"][0].records["LINUXKIT.source"]
    assert source.startswith("debian:libapp=")


def test_the_bill_of_materials_names_packages_and_images(archive: Archive, tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "layout")
    status = b"Package: inside\nStatus: install ok installed\nVersion: 7\nArchitecture: amd64\n"
    maker.image("docker.io/fake/i:1", layer_tar(member("var/lib/dpkg/status", status)))
    [path] = build(archive, tmp_path, YAML + "init: [fake/i:1]", sources=[Layout(maker.folder)])
    header, data = entries(path)[-1]
    assert (header.name, header.mode, dict(header.records)) == ("sbom.spdx.json", 0o644, {})
    packages = {one["name"]: one for one in json.loads(data)["packages"]}
    assert {"app", "libapp", "linux-image-6.1-test", "docker.io/fake/i", "inside"} <= set(packages)
    assert packages["app"]["licenseDeclared"] == packages["libapp"]["licenseDeclared"] == "MIT"
    assert packages["app"]["checksums"][0]["algorithm"] == "SHA256"
    assert packages["inside"]["versionInfo"] == "7"
    assert build(archive, tmp_path, YAML, sbom="") == [path]
    assert entries(path)[-1][0].name != "sbom.spdx.json"


def test_a_statement_of_origin_lies_beside_the_results(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a").write_text("a")
    text = "packages: {include: [app]}\nfiles: [{path: etc/src, source: src}]"
    made = build(archive, tmp_path, text, provenance=True, base=tmp_path)
    statement = json.loads((tmp_path / "out.intoto.json").read_bytes())
    assert [path.name for path in made] == ["out.tar", "out.intoto.json"]
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert [one["name"] for one in statement["subject"]] == ["out.tar"]
    uris = [one["uri"] for one in statement["predicate"]["buildDefinition"]["resolvedDependencies"]]
    assert "file:src/a" in uris
    assert any(uri.startswith("pkg:deb/debian/app@") for uri in uris)


def test_a_kernel_alone_brings_its_modules_to_lib(archive: Archive, tmp_path: Path) -> None:
    [path] = build(archive, tmp_path, "kernel: {package: linux-image-test}", sbom="")
    names = [header.name for header, _ in entries(path)]
    assert names[3:5] == ["lib", "lib/modules"]
    assert not any(name.startswith("usr") for name in names)


def test_modules_lie_unpacked_in_the_root_with_what_they_need(archive: Archive, tmp_path: Path) -> None:
    text = YAML.replace("modules: [over-lay]", "unpacked: [over_lay, loud, ext4, nothing]")
    [path] = build(archive, tmp_path, text)
    made = {header.name: data for header, data in entries(path)}
    top = "usr/lib/modules/6.1-test"
    assert made[f"{top}/kernel/fs/over-lay.ko"][:4] == made[f"{top}/kernel/lib/lib-b.ko"][:4] == b"\x7fELF"
    assert not [name for name in made if name.endswith(".xz")]
    assert not [name for name in made if "loud" in name]
    assert b"kernel/fs/over-lay.ko: kernel/lib/lib-b.ko\n" in made[f"{top}/modules.dep"]


def test_a_kernel_has_one_origin() -> None:
    with pytest.raises(UsageError) as caught:
        load_config([("x.yml", "kernel: {image: a/b:1, package: linux-image-test}")])
    assert "from an image or from a package" in str(caught.value.details)


class StandIns:
    """Programs that leave the tar that they get, so that tests can look into it."""

    def command(self, group: str, name: str) -> Command:
        if (group, name) == ("image", "mkfs.erofs"):
            return COPY_TAR
        assert (group, name) == ("squashfs", "sqfstar")
        copy = "import shutil,sys; shutil.copyfileobj(sys.stdin.buffer, open(sys.argv[-1], 'wb'))"
        return Command((sys.executable, "-c", copy), {})

    def file(self, group: str, path: str) -> Path:
        raise AssertionError((group, path))


def test_file_systems_get_each_path_once_and_a_first_stage(archive: Archive, tmp_path: Path) -> None:
    made = build(archive, tmp_path, formats="kernel+squashfs,kernel+erofs", tools=StandIns())
    assert sorted(path.name for path in made) == [
        "out-cmdline", "out-erofs.img", "out-kernel", "out-squashfs.img", "out-stage.img",
    ]  # fmt: skip
    assert (tmp_path / "out-erofs.img").read_bytes() == (tmp_path / "out-squashfs.img").read_bytes()
    found = entries(tmp_path / "out-erofs.img")
    names = [header.name for header, _ in found]
    assert len(names) == len(set(names))
    assert "boot/kernel" not in names
    assert {header.name: data for header, data in found}["usr/bin/app"] == b"mine"
    stage = read_cpio((tmp_path / "out-stage.img").read_bytes())
    assert b"root=" in stage["init"][1]
    assert "modules/over_lay.ko" in stage


def test_the_first_stage_may_be_the_users_own(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "first").write_bytes(b"#!/bin/sh own")
    text = YAML.replace("cmdline: quiet", "cmdline: quiet, init: first")
    build(archive, tmp_path, text, formats="kernel+erofs", tools=StandIns(), base=tmp_path)
    assert read_cpio((tmp_path / "out-stage.img").read_bytes())["init"][1] == b"#!/bin/sh own"
    with pytest.raises(NotFoundError, match="no init script"):
        build(archive, tmp_path, text.replace("first", "none"), formats="kernel+erofs", tools=StandIns())


SCRIPT = """
import os, sys, time
os.umask(int(sys.argv[1], 8)); time.tzset()
from cove.cli.app import run
words = ["--offline", "-q", "build", "--name", "out", "--images", "layout", "--provenance"]
sys.exit(run([*words, "-f", sys.argv[2], "x.yml"]))
"""


def test_neither_user_nor_umask_nor_zone_nor_locale_nor_place_shows(tmp_path: Path) -> None:
    results: list[dict[str, bytes]] = []
    for number, (umask, zone, locale) in enumerate(
        [("022", "UTC", "C"), ("077", "Asia/Tokyo", "de_DE.UTF-8")]
    ):
        folder = tmp_path / f"place{number}"
        maker = LayoutMaker(folder / "layout")
        maker.image("docker.io/fake/x:1", layer_tar(member("b"), member("a", b"x" * 3_000_000)))
        (folder / "dir").mkdir()
        (folder / "dir/ä").write_text("x")
        (folder / "dir/ä").chmod(0o600 if number else 0o666)
        (folder / "x.yml").write_text(
            "init: [fake/x:1]\nservices: [{name: s, image: fake/x:1}]\n"
            "files: [{path: d, source: dir}, {path: e/m, metadata: yaml}]"
        )
        env = {"TZ": zone, "LC_ALL": locale, "LANG": locale, "HOME": str(folder), "COVE_HOME": str(folder / "home"),
               "PATH": "/usr/bin:/bin", "USER": f"user{number}", "PYTHONHASHSEED": str(number),
               "SOURCE_DATE_EPOCH": str(number)}  # fmt: skip
        nobody = {"user": 65534, "group": 65534} if number and os.geteuid() == 0 else {}
        if nobody:
            for path in (tmp_path, folder, *folder.rglob("*")):
                os.chown(path, 65534, 65534)
            for parent in tmp_path.parents:
                if not parent.stat().st_mode & 0o001:
                    nobody = {}
        for form in ("tar", "kernel+initrd"):
            subprocess.run(
                [sys.executable, "-c", SCRIPT, umask, form],
                cwd=folder,
                env=env,
                check=True,
                timeout=60,
                **nobody,
            )
        results.append({p.name: p.read_bytes() for p in folder.iterdir() if p.name.startswith("out")})
    assert sorted(results[0]) == ["out-initrd.img", "out.intoto.json", "out.tar"]
    assert results[0] == results[1]
