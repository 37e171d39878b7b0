# SPDX-License-Identifier: Apache-2.0
"""Versions of client and server, as ``docker version`` has them, plus the kernel and where it comes from."""

from __future__ import annotations

import platform
from typing import Any

from cove.host.engine import Engine
from cove.image.guest_image import GuestImage
from cove.image.oci.model import docker_architecture
from cove.machine.store import Machine
from cove.system.paths import Home
from cove.version import __version__


def versions(machine: Machine | None, home: Home) -> dict[str, Any]:
    """Client and server side by side; ``server`` is None unless the machine runs.

    Raises:
        EngineError: the machine runs, but its engine does not answer.
    """
    client = {
        "version": __version__,
        "python": platform.python_version(),
        "os_arch": f"{platform.system().lower()}/{docker_architecture(platform.machine())}",
        "kernel": platform.release(),
    }
    return {"client": client, "server": _server(machine, home) if machine and machine.running else None}


def _server(machine: Machine, home: Home) -> dict[str, Any]:
    engine = Engine(machine.paths.docker_socket).get("/version")
    components = {part["Name"].lower(): part["Version"] for part in engine["Components"]}
    package = GuestImage.load(home.images / machine.image).kernel_package
    return {
        "machine": machine.name,
        "driver": machine.spec.driver,
        "accel": machine.spec.accel,
        "engine": engine["Version"],
        "api_version": f"{engine['ApiVersion']} (minimum {engine['MinAPIVersion']})",
        "os_arch": f"{engine['Os']}/{engine['Arch']}",
        "containerd": components.get("containerd", "unknown"),
        "runtime": ", ".join(f"{name} {components[name]}" for name in ("crun", "runc") if name in components),
        "kernel": engine["KernelVersion"],
        "kernel_package": f"{package.name} {package.version}",
    }
