# SPDX-License-Identifier: Apache-2.0
"""Volumes that containers name in ``binds`` and ``mounts``. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cove.image.marked import Place


def merged_folder(name: str) -> str:
    """Where a volume is mounted in the running system."""
    return f"/containers/volumes/{name}/merged"


def volume_problems(settings: Mapping[str, Any], volumes: Mapping[str, bool]) -> Iterator[tuple[Place, str]]:
    """What is wrong with the volumes that a container names.

    Args:
        settings: of the container.
        volumes: name of each volume -> whether it is read-only.

    Yields:
        the place in ``settings``, and what is wrong there.
    """
    for key in ("binds", "binds.add"):
        for index, bind in enumerate(settings.get(key, [])):
            source, *rest = bind.split(":")
            if not source.startswith("/"):
                text = _problem(source, volumes, readonly=rest[1:2] == ["ro"])
                if text:
                    yield (key, index), text
    for index, mount in enumerate(settings.get("mounts", [])):
        if _names_volume(mount):
            text = _problem(mount.get("source", ""), volumes, readonly=_readonly(mount.get("options", [])))
            if text:
                yield ("mounts", index), text


def with_volumes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a container with the names of volumes replaced by the folders where they are mounted.

    LinuxKit 1.8 forgets those in ``mounts``.
    """
    done = dict(settings)
    for key in ("binds", "binds.add"):
        if key in done:
            done[key] = [
                bind if bind.startswith("/") else _replaced(bind.partition(":")) for bind in settings[key]
            ]
    if "mounts" in done:
        done["mounts"] = [
            {**mount, "source": merged_folder(mount["source"])} if _names_volume(mount) else mount
            for mount in settings["mounts"]
        ]
    return done


def _replaced(parts: tuple[str, str, str]) -> str:
    return merged_folder(parts[0]) + parts[1] + parts[2]


def _names_volume(mount: Mapping[str, Any]) -> bool:
    return mount.get("type") == "bind" and not mount.get("source", "").startswith("/")


def _readonly(options: list[str]) -> bool:
    return next((option == "ro" for option in options if option in ("ro", "rw")), False)


def _problem(name: str, volumes: Mapping[str, bool], *, readonly: bool) -> str | None:
    if name not in volumes:
        return f"volume {name!r} not found among volumes"
    if volumes[name] and not readonly:
        return f"volume {name} is read-only, but attempting to write into container read-write: add :ro"
    return None
