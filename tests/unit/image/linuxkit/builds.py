# SPDX-License-Identifier: Apache-2.0
"""Builds for tests: images made of a few lines, assembled into a tar that is read again."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from cove.image.linuxkit.assemble import assemble, prepare
from cove.image.linuxkit.config import load_config
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform
from cove.image.sinks import TarSink
from cove.image.tar.header import Header
from cove.image.tar.reader import read_tar
from tests.unit.image.oci.layouts import LayoutMaker

AMD = Platform(architecture="amd64")


def build(maker: LayoutMaker, *texts: str, base: Path = Path(), **more: Any) -> list[tuple[Header, bytes]]:
    """All entries, in their order."""
    config = load_config([(f"{number}.yml", text) for number, text in enumerate(texts, 1)])
    out = io.BytesIO()
    assemble(prepare(config, [Layout(maker.folder)], AMD), TarSink(out), base=base, **more)
    out.seek(0)
    return [(header, b"".join(data.chunks())) for header, data in read_tar(out)]


def names(entries: list[tuple[Header, bytes]]) -> list[str]:
    return [header.name for header, _ in entries]


def last(entries: list[tuple[Header, bytes]], name: str) -> tuple[Header, bytes]:
    """What is left at ``name`` when the tar is unpacked."""
    return [entry for entry in entries if entry[0].name.rstrip("/") == name][-1]


def read_json(entries: list[tuple[Header, bytes]], name: str) -> Any:
    return json.loads(last(entries, name)[1])
