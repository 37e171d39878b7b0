# SPDX-License-Identifier: Apache-2.0
"""Kernels in the form that LinuxKit's YAML takes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.image import runtime
from cove.image.kernel_image import write_kernel_layer
from tests.unit.image.oci.layouts import layer_tar, member

MODULE = "lib/modules/6.1/modules.dep"


def test_kernel_and_modules_lie_where_linuxkit_looks(tmp_path: Path) -> None:
    system = layer_tar(
        member("boot/"), member("boot/cmdline", b"quiet"), member("boot/kernel", b"a kernel", mode=0o600),
        member("etc/"), member("etc/passwd", b"root"), member("lib/"), member("lib/modules/"), member(MODULE, b"deps"),
        member("lib/other", b"no module"), member("var/lib/dpkg/status.d/linux", b"Package: linux\n"),
    )  # fmt: skip
    (tmp_path / "system").write_bytes(system)
    write_kernel_layer(tmp_path / "system", tmp_path / "layer", tmp_path)
    with tarfile.open(tmp_path / "layer") as layer:
        found = {one.name: layer.extractfile(one) for one in layer}
        assert found.keys() == {"kernel", "var/lib/dpkg/status.d/linux", "kernel.tar"}
        kernel, tar = found["kernel"], found["kernel.tar"]
        assert kernel is not None
        assert tar is not None
        assert (kernel.read(), layer.getmember("kernel").mode) == (b"a kernel", 0o644)
        with tarfile.open(fileobj=io.BytesIO(tar.read())) as modules:
            assert modules.getnames() == ["lib", "lib/modules", MODULE]
    assert {path.name for path in tmp_path.iterdir()} == {"system", "layer"}


def test_each_architecture_has_its_package() -> None:
    described = runtime._read("kernel")
    assert described.contents_for("amd64").kernel.package == "linux-image-cloud-amd64"
    assert described.contents_for("arm64").kernel.package == "linux-image-cloud-arm64"
    with pytest.raises(UsageError, match=r"no cove.internal/kernel-uml for arm64"):
        runtime._read("kernel-uml").contents_for("arm64")
