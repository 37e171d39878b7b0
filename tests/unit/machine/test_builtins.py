# SPDX-License-Identifier: Apache-2.0
"""Which built-in image a platform means; making and loading them is held by the integration tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.machine.builtins import architecture_of, ensure_builtins
from cove.machine.store import Store
from cove.spec.machine import Architecture
from tests.unit.machine.world import SPEC


@pytest.mark.parametrize(
    ("platform", "architecture"),
    [
        ("linux/arm64", "aarch64"),
        ("linux/arm64/v8", "aarch64"),
        ("arm64", "aarch64"),
        ("linux/amd64", "x86_64"),
    ],
)
def test_platforms(platform: str, architecture: Architecture) -> None:
    assert architecture_of(platform) == architecture


@pytest.mark.parametrize("platform", ["windows/amd64", "linux/s390x", "linux/", ""])
def test_other_platforms_are_refused_by_name(platform: str) -> None:
    with pytest.raises(UsageError, match=f"for the platform {platform}") as caught:
        architecture_of(platform)
    assert caught.value.hint == "There are some for linux/amd64, linux/arm64."


def test_nothing_is_asked_of_an_engine_that_is_to_have_nothing(store: Store) -> None:
    machine = store.create(replace(SPEC, name="still"))
    ensure_builtins(machine, [], None)  # type: ignore[arg-type]  # nothing is fetched
    assert not Path(machine.paths.docker_socket).exists()
