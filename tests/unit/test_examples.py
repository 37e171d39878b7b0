# SPDX-License-Identifier: Apache-2.0
"""The examples: that they are sound, and name only what there is. tests/integration boots them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.image.builtin_images import find_builtin
from cove.image.linuxkit.meaning import SECTIONS
from cove.image.oci.reference import parse_reference
from cove.sdk.boot import takes_any_kernel
from cove.sdk.building import read_config

EXAMPLES = sorted((Path(__file__).parents[2] / "examples/linuxkit").glob("*.yml"))
OWN = {"example/site:1"}
"""What whoever tries the example makes."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example(path: Path) -> None:
    config = read_config([str(path)])
    assert not config.complaints
    assert takes_any_kernel(config)
    names = [config.kernel.image, *config.init, *(one.image for one in config.volumes)]
    names += [one.image for section in SECTIONS for one in config.containers(section)]
    for name in {*names} - OWN:
        assert find_builtin(str(parse_reference(name))), name


@pytest.mark.parametrize(
    ("yaml", "any_kernel"),
    [
        ("kernel: {image: cove.internal/kernel}", True),
        ("kernel: {image: cove.internal/kernel-uml}", False),
        ("kernel: {image: linuxkit/kernel:6.12.59}", False),
        ("kernel: {package: user-mode-linux}", False),
        ("init: []", False),
    ],
)
def test_whose_kernel_is_the_drivers(yaml: str, any_kernel: bool, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(yaml)
    assert takes_any_kernel(read_config([str(tmp_path / "x.yml")])) == any_kernel
