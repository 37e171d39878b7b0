# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.errors import UsageError
from cove.image.oci.reference import parse_reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("redis", "docker.io/library/redis"),
        ("redis:7.2-alpine", "docker.io/library/redis:7.2-alpine"),
        ("index.docker.io/redis", "docker.io/library/redis"),
        ("docker.io/redis:1", "docker.io/library/redis:1"),
        ("linuxkit/init:v1.0", "docker.io/linuxkit/init:v1.0"),
        ("localhost/a", "localhost/a"),
        ("localhost:5000/x/y:1", "localhost:5000/x/y:1"),
        ("ghcr.io/a/b/c", "ghcr.io/a/b/c"),
        (f"fake/pinned@{DIGEST}", f"docker.io/fake/pinned@{DIGEST}"),
        (f"fake/pinned:1@{DIGEST}", f"docker.io/fake/pinned:1@{DIGEST}"),
        ("cove.internal/init:1", "cove.internal/init:1"),
    ],
)
def test_names_become_full_ones(text: str, full: str) -> None:
    assert str(parse_reference(text)) == full


def test_a_name_without_a_tag_is_also_looked_for_as_latest() -> None:
    assert parse_reference("a/b").names == ("docker.io/a/b", "docker.io/a/b:latest")
    assert parse_reference("a/b:1").names == ("docker.io/a/b:1",)
    assert parse_reference(f"a/b@{DIGEST}").names == (f"docker.io/a/b@{DIGEST}",)


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a b", "a/b:", "a/b@sha256:12", "/a", "a//b", "@pkg:./dir", "a:b:c"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not the name of an image"):
        parse_reference(text)
