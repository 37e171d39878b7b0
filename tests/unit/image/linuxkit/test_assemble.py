# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import hashlib
import json
import os
import struct
import tarfile
from pathlib import Path

import pytest

from cove.errors import ArchiveError, NotFoundError, UsageError
from cove.image.linuxkit.kernel import decompressed
from tests.unit.image.oci.layouts import LayoutMaker, layer_tar, member

from .builds import build, last, names, read_json


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    maker = LayoutMaker(tmp_path / "layout")
    maker.image(
        "docker.io/fake/plain:1", layer_tar(member("hello", b"hi", mode=0o755)), config={"Cmd": ["/hello"]}
    )
    return maker


def test_the_second_container_of_an_image_uses_the_files_of_the_first(maker: LayoutMaker) -> None:
    made = build(
        maker,
        "onboot: [{name: a, image: fake/plain:1}, {name: b, image: 'docker.io/fake/plain:1', readonly: true}]\n"
        "services: [{name: c, image: fake/plain:1}]",
    )
    assert names(made).count("containers/onboot/000-a/lower/hello") == 1
    assert not any(name.endswith("b/lower/hello") for name in names(made))
    assert read_json(made, "containers/onboot/001-b/runtime.json")["mounts"] == [
        {
            "destination": "/containers/onboot/001-b/rootfs",
            "source": "/containers/onboot/000-a/lower",
            "options": ["bind"],
        }
    ]
    assert "containers/onboot/001-b/tmp" not in names(made)
    [overlay] = read_json(made, "containers/services/c/runtime.json")["mounts"][2:]
    assert overlay["options"] == [
        "lowerdir=/containers/onboot/000-a/lower",
        "upperdir=/containers/services/c/tmp/upper",
        "workdir=/containers/services/c/tmp/work",
    ]


def test_a_readonly_container_has_its_files_in_rootfs(maker: LayoutMaker) -> None:
    made = build(maker, "services: [{name: r, image: fake/plain:1, readonly: true}]")
    assert "containers/services/r/rootfs/hello" in names(made)
    assert "containers/services/r/tmp" not in names(made)
    assert names(made).count("containers/services/r/rootfs") == 1
    assert read_json(made, "containers/services/r/config.json")["root"]["readonly"] is True


def test_what_docker_makes_is_dropped_or_replaced(maker: LayoutMaker) -> None:
    maker.image(
        "docker.io/fake/docker:1",
        layer_tar(
            *(member(name, b"x") for name in (".dockerenv", "Dockerfile", "dev/console", "etc/hostname")),
            member("etc/hosts", b"mine", mode=0o600, uid=5, mtime=7),
            member("etc/resolv.conf", type=tarfile.SYMTYPE, linkname="../run/resolv.conf"),
            member("etc/mtab", b"old", mtime=9),
            member("etc/", mode=0o700),
        ),
    )
    made = build(maker, "services: [{name: d, image: fake/docker:1}]")
    top = "containers/services/d/lower/"
    assert not {f"{top}.dockerenv", f"{top}Dockerfile", f"{top}dev/console", f"{top}etc/hostname"} & set(
        names(made)
    )
    hosts = [(header.mode, header.uid, data[:9]) for header, data in made if header.name == f"{top}etc/hosts"]
    assert hosts == [(0o600, 5, b"127.0.0.1"), (0o644, 0, b"127.0.0.1")]
    assert [data for header, data in made if header.name == f"{top}etc/mtab"] == [b"old"]
    assert last(made, f"{top}etc/resolv.conf")[1] == b"\n# no resolv.conf configured\n"
    assert last(made, f"{top}etc")[0].mode == 0o755


def test_hard_links_follow_their_files_and_attributes_survive(maker: LayoutMaker) -> None:
    maker.image(
        "docker.io/fake/links:1",
        layer_tar(
            member("bin/a", b"1", pax_headers={"SCHILY.xattr.security.capability": "\x01"}),
            member("bin/b", type=tarfile.LNKTYPE, linkname="bin/a"),
            member("üñî/" + "x" * 150, b"2"),
        ),
    )
    made = build(maker, "init: [fake/links:1]\nservices: [{name: s, image: fake/links:1}]")
    top = "containers/services/s/lower/"
    assert last(made, f"{top}bin/b")[0].link == f"{top}bin/a"
    assert last(made, "bin/b")[0].link == "bin/a"
    assert last(made, f"{top}bin/a")[0].records["SCHILY.xattr.security.capability"] == "\x01"
    assert last(made, f"{top}üñî/{'x' * 150}")[1] == b"2"


def test_every_file_says_where_it_comes_from(maker: LayoutMaker) -> None:
    made = build(
        maker,
        "volumes: [{name: v}]\nservices: [{name: s, image: fake/plain:1}]\nfiles: [{path: a/b, contents: x}]",
    )
    marks = {(h.records["LINUXKIT.source"], h.records["LINUXKIT.location"]) for h, _ in made}
    assert marks == {
        ("empty", "volume[0]"), ("linuxkit.volumes", "volume[0]"), ("docker.io/fake/plain:1", "services[0]"),
        ("linuxkit.files", "files[0]"),
    }  # fmt: skip


KERNEL_TAR = layer_tar(member("lib/"), member("lib/modules/6.1/x.ko", b"module"), member("etc/k", b"k"))


def kernel_image(maker: LayoutMaker, *more: object) -> None:
    maker.image(
        "docker.io/fake/kernel:1",
        layer_tar(
            member("System.map", b"map"), member("ucode.cpio", b"ucode"), member("kernel", b"KERNEL", mode=0o600),
            member("kernel.tar", KERNEL_TAR), member("sub/kernel", b"other"),
        ),
    )  # fmt: skip


def test_of_a_kernel_image_only_four_files_are_taken(maker: LayoutMaker) -> None:
    kernel_image(maker)
    made = build(maker, "kernel: {image: fake/kernel:1, cmdline: 'quiet', ucode: ucode.cpio}")
    assert names(made) == [
        "boot", "boot/ucode.cpio", "boot/cmdline", "boot/kernel", "lib/", "lib/modules/6.1/x.ko", "etc/k",
    ]  # fmt: skip
    assert last(made, "boot/cmdline")[1] == b"quiet"
    assert (last(made, "boot/kernel")[0].mode, last(made, "boot/kernel")[1]) == (0o600, b"KERNEL")
    assert "lib/modules/6.1/x.ko" not in names(build(maker, "kernel: {image: fake/kernel:1, tar: none}"))
    assert (
        last(build(maker, "kernel: {image: fake/kernel:1, binary: System.map, tar: ''}"), "boot/kernel")[1]
        == b"map"
    )


@pytest.mark.parametrize(
    ("yaml", "message"),
    [("binary: vmlinuz", "did not find kernel in"), ("tar: k.tar", "did not find kernel tar")],
)
def test_a_kernel_image_without_what_is_wanted(maker: LayoutMaker, yaml: str, message: str) -> None:
    kernel_image(maker)
    with pytest.raises(NotFoundError, match=message):
        build(maker, f"kernel: {{image: fake/kernel:1, {yaml}}}")


def test_a_compressed_kernel_is_taken_out_of_it(maker: LayoutMaker) -> None:
    maker.image("docker.io/fake/gz:1", layer_tar(member("kernel", gzip.compress(b"vmlinux"))))
    made = build(maker, "kernel: {image: fake/gz:1, tar: ''}", decompress_kernel=True)
    assert last(made, "boot/kernel")[1] == b"vmlinux"
    payload = gzip.compress(b"inside")
    bzimage = bytearray(0x400) + bytes(0x200) + payload
    bzimage[0x1F1], bzimage[0x1FE:0x200], bzimage[0x202:0x206] = 2, b"\x55\xaa", b"HdrS"
    struct.pack_into("<H", bzimage, 0x206, 0x20F)
    struct.pack_into("<II", bzimage, 0x248, 0, len(payload))
    assert decompressed(bytes(bzimage)) == b"inside"
    for broken in (b"ELF", bytes(bzimage[:0x610]), gzip.compress(b"x" * 99)[:-9]):
        with pytest.raises(ArchiveError, match="cannot be decompressed"):
            decompressed(broken)


def test_a_volume_can_hold_an_image_as_a_layout(maker: LayoutMaker) -> None:
    manifests = [maker.manifest([layer_tar(member(name))], architecture=name) for name in ("amd64", "arm64")]
    maker.name(maker.index(manifests), "docker.io/fake/multi:1")
    made = build(
        maker,
        "volumes: [{name: all, image: fake/multi:1, format: oci}, "
        "{name: one, image: fake/multi:1, format: oci, platforms: [linux/arm64]}]",
    )
    top = "containers/volumes/all/lower/"
    assert names(made)[4:7] == [f"{top}oci-layout", f"{top}blobs/", f"{top}blobs/sha256/"]
    blobs = [
        (header, data) for header, data in made if f"{top}blobs/sha256/" in header.name and header.kind == "0"
    ]
    assert len(blobs) == 7
    assert all(hashlib.sha256(data).hexdigest() == header.name.rpartition("/")[2] for header, data in blobs)
    assert {header.mtime for header, _ in blobs} == {0}
    index = read_json(made, f"{top}index.json")
    assert index["manifests"][0]["annotations"] == {
        "org.opencontainers.image.ref.name": "docker.io/fake/multi:1"
    }
    assert index["manifests"][0]["digest"] == maker.manifests[-1]["digest"]
    assert sum("containers/volumes/one/lower/blobs/sha256/" in n for n in names(made)) == 5
    assert names(made)[-2:] == ["containers/volumes/one/tmp/", "containers/volumes/one/merged/"]


def test_a_layout_for_a_platform_that_the_image_is_not_for_is_an_error(maker: LayoutMaker) -> None:
    maker.name(maker.index([maker.manifest([layer_tar(member("a"))])]), "docker.io/fake/multi:1")
    with pytest.raises(NotFoundError, match="fake/multi:1 is not for linux/s390x"):
        build(
            maker,
            "volumes: [{name: v, image: fake/multi:1, format: oci, platforms: [linux/amd64, linux/s390x]}]",
        )


def test_a_lone_manifest_makes_a_layout_too(maker: LayoutMaker) -> None:
    maker.name(maker.manifest([layer_tar(member("a"))]), "docker.io/fake/bare:1")
    made = build(maker, "volumes: [{name: v, image: fake/bare:1, format: oci}]")
    [entry] = read_json(made, "containers/volumes/v/lower/index.json")["manifests"]
    assert entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert f"containers/volumes/v/lower/blobs/{entry['digest'].replace(':', '/')}" in names(made)


def test_files_without_modes_keep_those_of_folders_and_make_the_rest_like_themselves(
    maker: LayoutMaker, tmp_path: Path
) -> None:
    maker.image(
        "docker.io/fake/root:1",
        layer_tar(
            member("opt/", mode=0o711, uid=3),
            member("srv/", mode=0o750, uid=3),
            member("lib", type=tarfile.SYMTYPE, linkname="usr/lib"),
        ),
    )
    (tmp_path / "source").write_bytes(b"from disk")
    made = build(
        maker,
        """
init: [fake/root:1]
files:
  - {path: etc/a, contents: x}
  - {path: /opt/b/c, contents: x, mode: "0640", uid: 7}
  - {path: srv/b/c, contents: x, uid: 7}
  - {path: lib/d, symlink: e}
  - {path: new/deep/f, source: source}
  - {path: new/g, directory: true}
  - {path: gone, source: nothing, optional: true}
  - {path: etc/cfg, metadata: json, mode: "0644"}
""",
        base=tmp_path,
    )
    assert last(made, "etc")[0].mode == 0o755
    assert (last(made, "srv")[0].mode, last(made, "srv")[0].uid) == (0o750, 7)
    assert (last(made, "srv/b")[0].mode, last(made, "srv/b")[0].uid) == (0o700, 7)
    assert (last(made, "opt")[0].mode, last(made, "opt")[0].uid) == (0o750, 7)
    assert (last(made, "opt/b")[0].mode, last(made, "opt/b")[0].uid) == (0o750, 7)
    assert last(made, "lib")[0].kind == "2"
    assert (last(made, "new")[0].mode, last(made, "new/deep")[0].mode) == (0o700, 0o700)
    assert last(made, "new/deep/f")[1] == b"from disk"
    assert names(made).count("new") == 1
    assert "gone" not in names(made)
    assert json.loads(last(made, "etc/cfg")[1])["init"] == ["docker.io/fake/root:1"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_folder_as_source_shows_no_umask(maker: LayoutMaker, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        top = tmp_path / "tree"
        (top / "sub").mkdir(parents=True)
        (top / "sub/run").write_text("#!/bin/sh\n")
        (top / "sub/run").chmod(0o700)
        (top / ".hidden").write_text("h")
        (top / "link").symlink_to("sub/run")
    finally:
        os.umask(before)
    made = build(
        maker,
        "files: [{path: opt/app, source: tree}, {path: all, source: tree, mode: '0640'}]",
        base=tmp_path,
    )
    modes = {header.name: header.mode for header, _ in made}
    assert modes == {
        "opt": 0o755, "opt/app": 0o755, "opt/app/.hidden": 0o644, "opt/app/link": 0o777, "opt/app/sub": 0o755,
        "opt/app/sub/run": 0o755,
        "all": 0o750, "all/.hidden": 0o640, "all/link": 0o777, "all/sub": 0o750, "all/sub/run": 0o640,
    }  # fmt: skip


def test_a_missing_source_is_named(maker: LayoutMaker, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"1\.yml:1: the source 'nothing' does not exist"):
        build(maker, "files: [{path: a, source: nothing}]", base=tmp_path)


def test_nothing_is_written_before_all_is_known_to_be_right(maker: LayoutMaker) -> None:
    maker.image(
        "docker.io/fake/bad:1", layer_tar(), config={"Labels": {"org.mobyproject.config": "{net: 1}"}}
    )
    with pytest.raises(UsageError, match=r"label org\.mobyproject\.config of fake/bad:1"):
        build(maker, "services: [{name: a, image: fake/plain:1}, {name: b, image: fake/bad:1}]")
    with pytest.raises(NotFoundError, match=r"docker\.io/fake/none:1"):
        build(maker, "init: [fake/plain:1, fake/none:1]")


def test_labels_come_between_yaml_and_image(maker: LayoutMaker) -> None:
    label = json.dumps({"net": "host", "binds": ["/dev:/dev"], "runtime": {"mkdir": ["/x"]}})
    maker.image("docker.io/fake/label:1", layer_tar(), config={"Labels": {"org.mobyproject.config": label}})
    made = build(maker, "services: [{name: s, image: fake/label:1, binds.add: ['/run:/run']}]")
    places = [one["destination"] for one in read_json(made, "containers/services/s/config.json")["mounts"]]
    assert "/run" in places
    assert read_json(made, "containers/services/s/runtime.json")["mkdir"] == ["/x"]
