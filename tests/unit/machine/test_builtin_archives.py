# SPDX-License-Identifier: Apache-2.0
"""Finding archives of built-in images again, and ``cove.internal`` as a place to take images from."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.events import silent
from cove.image.containers import Builtin
from cove.image.oci.model import Platform
from cove.image.oci.reference import parse_reference
from cove.machine.builtin_archives import BuiltinImages, builtin_named, finished_archive
from cove.system.paths import Home


def builtin(request: str) -> Builtin:
    return Builtin(name="x", summary="", loads="", build=lambda *_: Path(), request=request)


def test_an_archive_is_made_once_for_each_request(tmp_path: Path) -> None:
    home, made = Home(tmp_path, tmp_path), []

    def make(folder: Path) -> Path:
        made.append(folder)
        path = folder / f"x-{len(made)}.tar"
        path.touch()
        return path

    first = finished_archive(builtin("1"), home, "x86_64", make)
    assert finished_archive(builtin("1"), home, "x86_64", make) == first
    assert finished_archive(builtin("1"), home, "aarch64", make) != first
    assert len(made) == 2
    second = finished_archive(builtin("2"), home, "x86_64", make)
    assert second != first
    assert not first.exists()
    second.unlink()
    assert finished_archive(builtin("2"), home, "x86_64", make).exists()


def test_names_of_others_are_left_to_others(tmp_path: Path) -> None:
    images = BuiltinImages(Home(tmp_path, tmp_path), None, silent)  # type: ignore[arg-type]  # never asked
    platforms = [Platform(architecture="amd64")]
    assert images.find(parse_reference("alpine"), platforms) is None
    with pytest.raises(UsageError, match="there is no built-in image cove") as caught:
        images.find(parse_reference("cove.internal/nothing:1"), platforms)
    assert "cove.internal/agent:latest: Cove's agent" in (caught.value.details or "")
    with pytest.raises(UsageError, match="finished by an engine"):
        images.find(parse_reference("cove.internal/debian"), platforms)


def test_a_builtin_that_there_is() -> None:
    assert builtin_named("cove.internal/agent:latest").name == "agent"
