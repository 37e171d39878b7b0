# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.spec.versions import dotted, parse_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Docker version 26.1.5+dfsg1, build a72d7cd", (26, 1, 5)),
        ("QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)", (10, 0, 13)),
        ("mkfs.erofs (erofs-utils) 1.8.6", (1, 8, 6)),
        ("gvproxy version v0.8.1", (0, 8, 1)),
        ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", (0, 13, 1)),
        ("x 1.2", (1, 2)),
        ("vfkit version: 0.6.1", (0, 6, 1)),
        ("14.5", (14, 5)),
        ("26.0", (26, 0)),
        ("x 12", None),
        ("", None),
    ],
)
def test_parse_version(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


def test_dotted() -> None:
    assert dotted((10, 2, 2)) == "10.2.2"
