# SPDX-License-Identifier: Apache-2.0
"""A tiny archive: .debs made here, holding programs of this host with their loader and libc."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from cove.debian.lock import Lock, LockedPackage
from cove.toolbox.launch import interpreter
from cove.toolbox.model import Group, Program

LIB = "usr/lib/x86_64-linux-gnu"


def make_deb(path: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Write a .deb (ar(5) with debian-binary, control.tar, data.tar) with some files and their modes."""

    def tar(members: Mapping[str, tuple[bytes, int]]) -> bytes:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            for name, (data, mode) in members.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size, info.mode = len(data), mode
                archive.addfile(info, io.BytesIO(data))
        # no time of day in it: the same contents are the same package
        return gzip.compress(raw.getvalue(), compresslevel=1, mtime=0)

    control = b"Package: x\nVersion: 1\nArchitecture: amd64\n"
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": tar({"control": (control, 0o644)}),
        "data.tar.gz": tar(files),
    }
    out = b"!<arch>\n"
    for name, data in parts.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        out += header.encode() + data + b"\n" * (len(data) % 2)
    path.write_bytes(out)


class TinyArchive:
    """Counts what it is asked for; ``fail`` is raised by the next fetch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contents: dict[str, Mapping[str, tuple[bytes, int]]] = {}
        self.version = "1"
        self.fetched = 0
        self.fail: BaseException | None = None

    def resolve(self, wanted: tuple[str, ...], *, exclude: tuple[str, ...] = ()) -> Lock:
        assert set(wanted) <= set(self.contents)
        found = []
        for name in sorted(set(self.contents) - set(exclude)):
            deb = self.folder / f"{name}.deb"
            make_deb(deb, self.contents[name])
            data = deb.read_bytes()
            found.append(
                LockedPackage(
                    name=name, version=self.version, architecture="amd64", size=len(data),
                    sha256=hashlib.sha256(data).hexdigest(), filename=f"pool/{name}.deb", suite="trixie",
                    source=name,
                )
            )  # fmt: skip
        return Lock.of(found)

    def fetch(self, lock: Lock) -> dict[str, Path]:
        self.fetched += 1
        if self.fail:
            raise self.fail
        return {package.name: self.folder / f"{package.name}.deb" for package in lock.packages}


def host_libraries(program: Path) -> dict[str, tuple[bytes, int]]:
    """The loader and libraries of a program of this host, as files of a package."""
    named = interpreter(program)
    assert named
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    paths = [Path(named), *(Path(found) for found in re.findall(r"=> (/\S+)", listed))]
    return {f"{LIB}/{path.name}": (path.read_bytes(), 0o755) for path in paths}


@pytest.fixture
def archive(tmp_path: Path) -> TinyArchive:
    env = Path("/usr/bin/env")
    if interpreter(env) != "/lib64/ld-linux-x86-64.so.2":
        pytest.skip("this host has no glibc for x86_64 to borrow")
    folder = tmp_path / "debs"
    folder.mkdir()
    archive = TinyArchive(folder)
    archive.contents["libc6"] = host_libraries(env)
    archive.contents["tool"] = {
        "usr/bin/dynamic": (env.read_bytes(), 0o755),
        "usr/bin/patched": (env.read_bytes(), 0o755),
        "usr/bin/plain": (b'#!/bin/sh\necho plain "$@"\n', 0o755),
        "usr/share/man/man1/x.1": (b"manual", 0o644),
        "usr/lib/unused/big": (b"x", 0o644),
        "usr/share/doc/tool/copyright": (b"licence", 0o644),
    }
    archive.contents["extra"] = {"usr/bin/extra": (b"", 0o755)}
    return archive


@pytest.fixture
def group() -> Group:
    def program(name: str, *, wrapped: bool = False, patched: bool = False) -> Program:
        return Program(
            name=name, path=f"usr/bin/{name}", package="tool", minimum=(1, 0), env={"TOOL_LIB": "{lib}"},
            wrapped=wrapped, patched=patched,
        )  # fmt: skip

    return Group(
        name="test",
        packages=("tool",),
        programs=(program("dynamic", wrapped=True), program("patched", patched=True), program("plain")),
        exclude=("extra",),
        drop=("usr/lib/unused",),
    )
