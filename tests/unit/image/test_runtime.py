# SPDX-License-Identifier: Apache-2.0
"""The built-in images of guests in LinuxKit's layout: that each can be built, and what is in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cove.debian.archive import Archive
from cove.events import silent
from cove.image import runtime
from cove.image.builtin_images import all_builtins, find_builtin
from cove.image.linuxkit.spec import LABEL, read_label
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform
from cove.image.oci.reader import find_root, open_image
from cove.image.runtime import runtime_image, runtime_names

from .parts import BUSYBOX, deb, shelf


@pytest.mark.parametrize("name", sorted(runtime_names()))
def test_each_is_described_soundly(name: str) -> None:
    described = runtime._read(name)
    assert described.summary
    assert described.about.keys() <= {"summary", "config", "command", "kernel"}
    if "config" in described.about:
        read_label(json.dumps(described.about["config"]), name)
    for entry in described.contents.files:
        assert entry.kind != "source" or runtime.source_files(entry.value, described.base), entry
    assert runtime_image(name).request == described.request


def test_names() -> None:
    assert [one.name for one in all_builtins()] == sorted({"busybox", "debian"} | runtime_names())
    agent = find_builtin("cove.internal/agent")
    assert agent is not None
    assert agent.reference == "cove.internal/agent:latest"
    assert find_builtin("cove.internal/nothing") is None
    assert find_builtin("cove.internal/../cove") is None


def test_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "tool.yml").write_text(
        "summary: a tool\nconfig: {net: host}\ncommand: [/tool]\n---\n"
        "packages: {include: [busybox-static]}\nfiles: [{path: tool, source: tool, mode: '0755'}]\n"
    )
    (folder / "tool").write_text("#!/bin/sh\n")
    monkeypatch.setattr(runtime, "FOLDER", folder)
    with shelf({"busybox-static": deb("busybox-static", {"usr/bin/busybox": BUSYBOX})}, tmp_path) as archive:
        first = made(archive, tmp_path / "1")
        assert made(archive, tmp_path / "2").read_bytes() == first.read_bytes()
        request = runtime_image("tool").request
        (folder / "tool").write_text("#!/bin/sh\nother\n")
        assert runtime_image("tool").request != request
        assert made(archive, tmp_path / "1") != first
    root = find_root([Layout(first)], "cove.internal/tool", [Platform(architecture="amd64")])
    image = open_image(root, Platform(architecture="amd64"))
    about = image.config["config"]
    assert (about["Cmd"], json.loads(about["Labels"][LABEL])) == (["/tool"], {"net": "host"})
    with image.layers[0].open() as stream:
        layer = stream.read()
    assert b"var/lib/dpkg/status.d/busybox-static" in layer
    assert b"usr/share/cove/lock.json" not in layer


def made(archive: Archive, into: Path) -> Path:
    into.mkdir(exist_ok=True)
    return runtime_image("tool").build(archive, into, silent)
