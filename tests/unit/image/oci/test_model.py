# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.errors import UsageError
from cove.image.oci.model import Platform, parse_platform


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform(architecture="amd64")),
        ("arm64", Platform(architecture="arm64")),
        ("linux/arm/v7", Platform(architecture="arm", variant="v7")),
    ],
)
def test_platforms(text: str, platform: Platform) -> None:
    assert parse_platform(text) == platform


@pytest.mark.parametrize("text", ["", "linux/", "/amd64", "a/b/c/d"])
def test_no_platforms(text: str) -> None:
    with pytest.raises(UsageError):
        parse_platform(text)
