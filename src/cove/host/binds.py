# SPDX-License-Identifier: Apache-2.0
"""Which folders of the host a container is to see, and whether the guest has them. Pure.

The engine would look for an unshared folder in the guest, find none, and make an empty one: the container would run,
and wrongly. So such a request is refused before the engine sees it.

Source: Docker Engine API v1.45, POST /containers/create (HostConfig.Binds and HostConfig.Mounts).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from posixpath import normpath
from shlex import quote
from typing import Any

from cove.errors import UsageError
from cove.spec.shares import Share, check_path, covering, is_below

GUEST_ONLY = (
    "/dev", "/lib/modules", "/proc", "/run/containerd", "/run/docker.sock", "/sys", "/usr/lib/modules",
    "/var/lib/containerd", "/var/lib/docker", "/var/run/docker.sock",
)  # fmt: skip
"""What containers mean the guest's own of, with all below it: the engine's socket, devices, its kernel's folders."""

_FOLDERS_ONLY = ("/run", "/var/run")


def sources(body: bytes) -> Iterator[str]:
    """The absolute host paths that a container is asked for with; none if ``body`` is not as docker has it."""
    try:
        config: Any = json.loads(body)
        host = config.get("HostConfig") or {}
        binds = [bind.split(":")[0] for bind in host.get("Binds") or []]
        mounts = [
            mount.get("Source", "") for mount in host.get("Mounts") or [] if mount.get("Type") == "bind"
        ]
    except (ValueError, AttributeError, TypeError):
        return  # the engine will say what is wrong with it
    # others are names of volumes
    yield from (path for path in (*binds, *mounts) if isinstance(path, str) and path.startswith("/"))


def refusal(body: bytes, *, machine: str, shares: Sequence[Share], hidden: Collection[str]) -> str | None:
    """Why a container cannot be created, for the user, or None.

    Args:
        body: of the request.
        machine: the name of the machine, for the hint.
        shares: what its guest sees of the host.
        hidden: folders in them that it does not.
    """
    for source in sources(body):
        path = "/" + normpath(source).lstrip("/")
        if any(is_below(path, folder) for folder in hidden):
            return f"{path} belongs to Cove itself, and no container is to see it"
        if covering(shares, path) is None and not _is_guests(path):
            return _unshared(path, machine)
    return None


def _is_guests(path: str) -> bool:
    return path in _FOLDERS_ONLY or any(is_below(path, place) for place in GUEST_ONLY)


def _unshared(path: str, machine: str) -> str:
    told = f"the host's {path} is not shared with the machine {machine}"
    try:
        check_path(path)
    except UsageError:
        return f"{told}, and cannot be: the guest has files of its own there. Copy it to a shared folder."
    return f"{told}. Share its folder: cove set {machine} --mount {quote(path)}, then cove restart {machine}"
