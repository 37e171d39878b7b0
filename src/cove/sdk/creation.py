# SPDX-License-Identifier: Apache-2.0
"""Making machines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from cove.sdk.installation import Installation

DEFAULT = "default"
"""The machine that is meant when none is named."""


class Settings(TypedDict, total=False):
    """What a machine has, from its first day or changed later.

    Args:
        cpus: virtual CPUs.
        memory: bytes.
        disk: bytes of the sparse data disk.
        file_events: whether changes on the host wake what watches files in containers.
        binfmt: whether programs of other architectures run in containers, emulated.
        idle_suspend: minutes in which nothing happens until it is suspended; 0 for ever.
    """

    cpus: int | None
    memory: int | None
    disk: int | None
    file_events: bool | None
    binfmt: bool | None
    idle_suspend: int | None


class Ways(TypedDict, total=False):
    """What runs a machine; "auto" is chosen for this host.

    Args:
        driver: "auto", "vz", "uml" or "qemu".
        accel: "auto", "kvm", "hvf" or "tcg".
        arch: "auto", "x86_64" or "aarch64", of kernel and engine.
        mount_type: "auto", "virtiofs" or "9p": how folders get into the guest.
    """

    driver: str
    accel: str
    arch: str
    mount_type: str


class Reach(TypedDict, total=False):
    """What of the world a machine sees.

    Args:
        mounts: folders to share besides, each ``PATH``, ``PATH:ro`` or ``PATH:rw``.
        mount_none: share only ``mounts``: not the user's home, not what was shared before.
        insecure_registries: ``HOST``, ``HOST:PORT`` or networks that the engine asks by http, or https unchecked.
        registry_mirrors: addresses that the engine asks before Docker Hub.
    """

    mounts: Sequence[str]
    mount_none: bool
    insecure_registries: Sequence[str]
    registry_mirrors: Sequence[str]


class Wishes(Settings, Ways, Reach, total=False):
    """What may be asked of a new machine; None and what is left out is chosen for this host.

    Args:
        image: LinuxKit YAML files of a guest of its own, merged in this order; it has to have Cove's agent. They are
            read, and the image is built anew, whenever they have changed at a start.
    """

    image: Sequence[str | Path]


class Changes(Settings, Reach, total=False):
    """What may be changed of a machine; None and what is left out stays as it is.

    Args:
        registries_none: forget the registries that were named before.
    """

    registries_none: bool


def create_machine(installation: Installation, name: str = DEFAULT, **wishes: Unpack[Wishes]) -> None:
    """Create a machine. It is not started, and takes no disk space to speak of until then.

    Args:
        installation: whose machine it is to be.
        name: a lower-case letter, then letters, digits and dashes.
        wishes: see :class:`Wishes`.

    Raises:
        ConflictError: there is a machine of this name.
        UsageError, UnsupportedError: it cannot be made like this on this host, or its guest's YAML is wrong.
        NotFoundError: its guest's YAML is not there.
    """
    from cove.machine.creation import create
    from cove.machine.shares import choose_shares
    from cove.spec.machine import MachineRequest
    from cove.spec.registries import read_registries

    registries = read_registries(wishes.pop("insecure_registries", ()), wishes.pop("registry_mirrors", ()))
    mounts, nothing = wishes.pop("mounts", ()), wishes.pop("mount_none", False)
    shares = choose_shares(mounts, nothing=nothing, home=installation.home, env=os.environ)
    image = tuple(str(Path(path).absolute()) for path in wishes.pop("image", ()))
    given: Any = {key: value for key, value in wishes.items() if value is not None}
    request = MachineRequest(name=name, shares=shares, registries=registries, image=image, **given)
    create(installation.store, request, installation.workshop())
