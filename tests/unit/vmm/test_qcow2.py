# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.vmm.qcow2 import (
    CLUSTER,
    EMPTY_SIZE,
    HEAD,
    LARGEST,
    SIZE_AT,
    Header,
    empty_overlay,
    read_header,
    size_field,
)

GIB = 2**30


def test_overlay_says_what_it_was_made_of() -> None:
    image = empty_overlay(64 * GIB, Path("/h/layers/ab.img"), "raw")
    assert len(image) == EMPTY_SIZE
    assert read_header(image[:HEAD]) == Header(size=64 * GIB, backing=Path("/h/layers/ab.img"))


def test_size_is_one_field() -> None:
    image = bytearray(empty_overlay(GIB, Path("/l"), "qcow2"))
    image[SIZE_AT : SIZE_AT + 8] = size_field(2 * GIB)
    assert image == empty_overlay(2 * GIB, Path("/l"), "qcow2")


def test_what_the_format_cannot_say_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        empty_overlay(GIB, Path("/" + "x" * 1023), "raw")
    for size in (LARGEST + 1, 10 * LARGEST):
        with pytest.raises(UsageError, match="larger than"):
            empty_overlay(size, Path("/l"), "raw")
        with pytest.raises(UsageError, match="larger than"):
            size_field(size)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_header_of_anything_is_read_or_none(start: bytes, rest: bytes) -> None:
    read_header(start)
    read_header(b"QFI\xfb\0\0\0\x03" + rest)


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img of the host")
def test_qemu_reads_it(tmp_path: Path) -> None:
    layer, overlay = tmp_path / "layer", tmp_path / "overlay"
    layer.write_bytes(b"\xab" * CLUSTER * 3)
    overlay.write_bytes(empty_overlay(CLUSTER * 5, layer, "raw"))
    checked = subprocess.run(["qemu-img", "check", overlay], check=False, capture_output=True, timeout=20)
    assert checked.returncode == 0, checked.stdout
    told = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", overlay], timeout=20))
    assert (told["virtual-size"], told["backing-filename-format"]) == (CLUSTER * 5, "raw")
