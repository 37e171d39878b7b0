# SPDX-License-Identifier: Apache-2.0
"""Built-in container images: busybox, docker_archive, dpkg, debian_stage and containers."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cove.debian.mirrors import Mirror
from cove.errors import ArchiveError
from cove.events import silent
from cove.image.builtin_images import find_builtin
from cove.image.busybox import applets
from cove.image.containers import GENERAL, busybox_tree
from cove.image.debian_stage import apt_sources
from cove.image.dpkg import Unpacked, database, interests, stanza
from cove.system.process import run

from .parts import APPLETS, BUSYBOX, deb, shelf

CONTROL = b"""\
Package: libx
Architecture: amd64
Multi-Arch: same
Version: 1
Description: x
 long
 .
 text
"""


def unpacked(**scripts: bytes) -> Unpacked:
    control = {"Package": "libx", "Architecture": "amd64", "Multi-Arch": "same"}
    return Unpacked(control=control, scripts={"control": CONTROL, **scripts}, paths=["etc", "etc/x"])


def test_applets() -> None:
    assert applets(BUSYBOX) == APPLETS


@pytest.mark.parametrize("program", [b"", b"\x7fELF", b"[\0[[\0", b"[\0[[\0cat\0ls\0", BUSYBOX[:40]])
def test_a_busybox_without_its_table(program: bytes) -> None:
    with pytest.raises(ArchiveError, match="no table of applets"):
        applets(program)


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs a busybox on the PATH")
def test_a_real_busybox() -> None:
    path = shutil.which("busybox") or ""
    listed = run([path, "--list"], doing="listing applets", deadline=10).stdout.decode().split()
    assert list(applets(Path(path).read_bytes())) == sorted(listed)


def test_the_busybox_image() -> None:
    tree = busybox_tree(BUSYBOX)
    for name in ("sh", "ls", "uname", "true", "wget", "nc", "cat"):
        assert f"bin/{name}" in tree
    assert tree.get("tmp").mode == 0o1777  # type: ignore[union-attr]
    assert tree.get("usr/bin/busybox").mode == 0o755  # type: ignore[union-attr]


def test_the_status_of_a_package() -> None:
    files = {"etc/x": b"conf"}
    one = unpacked(conffiles=b"/etc/x\n/etc/gone\nremove-on-upgrade /etc/old\n")
    assert stanza(one, files.get) == (
        "Package: libx\nStatus: install ok unpacked\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1\n"
        "Description: x\n long\n .\n text\n"
        f"Conffiles:\n /etc/x {hashlib.md5(b'conf').hexdigest()}\n"
    )


def test_triggers() -> None:
    one = unpacked(triggers=b"# x\ninterest-noawait ldconfig\ninterest /usr/lib/a # why\nactivate b\n\n")
    assert interests(one) == [("ldconfig", "libx:amd64/noawait"), ("/usr/lib/a", "libx:amd64")]
    files = {entry.path: entry.read() for entry in database([one], "amd64", {}.get)}
    assert files["var/lib/dpkg/triggers/File"] == b"/usr/lib/a libx:amd64\n"
    assert files["var/lib/dpkg/triggers/ldconfig"] == b"libx:amd64/noawait\n"


def test_the_database() -> None:
    entries = {
        entry.path: entry for entry in database([unpacked(postinst=b"#!", md5sums=b"")], "amd64", {}.get)
    }
    info = "var/lib/dpkg/info/libx:amd64"
    assert entries[f"{info}.list"].read() == b"/.\n/etc\n/etc/x\n"
    assert entries[f"{info}.postinst"].mode == 0o755
    assert entries[f"{info}.md5sums"].mode == 0o644
    assert f"{info}.control" not in entries
    assert entries["var/lib/dpkg/status"].read().count(b"\n\n") == 1


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs dpkg")
def test_dpkg_reads_the_database(tmp_path: Path) -> None:
    for entry in database([unpacked(conffiles=b"/etc/x\n")], "amd64", {"etc/x": b"c"}.get):
        path = tmp_path / Path(entry.path).relative_to("var/lib/dpkg")
        if entry.kind.value == "directory":
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_bytes(entry.read())
    shown = "${Package} ${Version} ${db:Status-Status} ${Conffiles}\\n"
    query = ["dpkg-query", f"--admindir={tmp_path}", "-W", "-f", shown]
    said = run(query, doing="asking dpkg", deadline=10).stdout.decode().split()
    assert said == ["libx", "1", "unpacked", "/etc/x", hashlib.md5(b"c").hexdigest()]


def test_apts_sources(golden: Callable[[str, str], None]) -> None:
    mirror = Mirror(main="http://deb.example/debian", security="http://deb.example/debian-security")
    golden("image/debian.sources", apt_sources(mirror))


class Loaded:
    """A docker archive as docker reads it, every digest checked."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as tar:
            self.files = {info.name: tar.extractfile(info).read() for info in tar if info.isreg()}  # type: ignore[union-attr]
        (self.manifest,) = json.loads(self.files["manifest.json"])
        self.config: dict[str, Any] = json.loads(self.files[self.manifest["Config"]])
        (layer,) = self.manifest["Layers"]
        data = self.files[layer]
        assert self.config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(data).hexdigest()}"]
        for name, blob in self.files.items():
            if name.startswith("blobs/"):
                assert name == f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"
        self.layer = tarfile.open(fileobj=io.BytesIO(data))  # noqa: SIM115

    def oci(self) -> dict[str, Any]:
        """The OCI manifest behind index.json."""
        (described,) = json.loads(self.files["index.json"])["manifests"]
        blob = self.files["blobs/" + described["digest"].replace(":", "/")]
        assert len(blob) == described["size"]
        return {"name": described["annotations"]["io.containerd.image.name"]} | json.loads(blob)


def test_the_busybox_archive(tmp_path: Path) -> None:
    with shelf(
        {"busybox-static": deb("busybox-static", {"usr/bin/busybox": BUSYBOX})}, tmp_path / "c"
    ) as archive:
        first = GENERAL["busybox"].build(archive, tmp_path / "1", silent)
        again = GENERAL["busybox"].build(archive, tmp_path / "1", silent)
        second = GENERAL["busybox"].build(archive, tmp_path / "2", silent)
    assert again == first
    assert first.read_bytes() == second.read_bytes()
    loaded = Loaded(first)
    assert loaded.manifest["RepoTags"] == ["cove.internal/busybox:latest"]
    assert loaded.config["config"]["Cmd"] == ["sh"]
    assert loaded.layer.getmember("usr/bin/sh").linkname == "busybox"
    assert loaded.layer.getmember("bin").linkname == "usr/bin"
    manifest = loaded.oci()
    assert manifest["name"] == "cove.internal/busybox:latest"
    assert manifest["layers"][0]["digest"] == loaded.config["rootfs"]["diff_ids"][0]
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == [".lock", first.name]


def test_the_first_stage_of_debian(tmp_path: Path) -> None:
    debs = {
        "apt": deb(
            "apt", {"etc/apt/a.conf": b"a"}, fields="Priority: required\n", conffiles=b"/etc/apt/a.conf\n"
        ),
        "base-files": deb(
            "base-files", {"bin": "->usr/bin"}, fields="Essential: yes\n", postinst=b"#!/bin/sh\n"
        ),
        "base-passwd": deb(
            "base-passwd",
            {
                "usr/share/base-passwd/passwd.master": b"root:*:0",
                "usr/share/base-passwd/group.master": b"root:*:0",
            },
            fields="Essential: yes\n",
        ),
        "debian-archive-keyring": deb("debian-archive-keyring", {"usr/share/keyrings/k.gpg": b"k"}),
        "extra": deb("extra", {"usr/bin/extra": b""}, fields="Priority: optional\n"),
    }
    with shelf(debs, tmp_path / "cache") as archive:
        loaded = Loaded(GENERAL["debian"].build(archive, tmp_path / "out", silent))
        main = archive.mirror.main
    assert loaded.manifest["RepoTags"] == ["cove.internal/debian-stage1:latest"]

    def text(path: str) -> str:
        return loaded.layer.extractfile(path).read().decode()  # type: ignore[union-attr]

    status = text("var/lib/dpkg/status")
    assert status.count("Status: install ok unpacked") == 4
    assert f" /etc/apt/a.conf {hashlib.md5(b'a').hexdigest()}" in status
    assert text("etc/passwd") == "root:*:0"
    assert f"URIs: {main}\n" in text("etc/apt/sources.list.d/debian.sources")
    assert loaded.layer.getmember("usr/sbin/policy-rc.d").mode == 0o755
    assert "usr/bin/extra" not in loaded.layer.getnames()


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("cove.internal/busybox", "busybox"),
        ("cove.internal/debian:latest", "debian"),
        ("cove.internal/debian:12", None),
        ("cove.internal/nothing", None),
        ("busybox", None),
        ("docker.io/cove.internal/busybox", None),
    ],
)
def test_names(reference: str, name: str | None) -> None:
    found = find_builtin(reference)
    assert (found.name if found else None) == name


def test_the_second_stage_is_complete() -> None:
    stage = GENERAL["debian"].second_stage
    assert stage is not None
    assert stage.command[:2] == ("/bin/sh", "-ec")
    run(["sh", "-n"], doing="checking the script", deadline=10, stdin=stage.command[2].encode())
    assert GENERAL["debian"].reference == "cove.internal/debian:latest"
