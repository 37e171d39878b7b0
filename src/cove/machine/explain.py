# SPDX-License-Identifier: Apache-2.0
"""Where does the Linux kernel come from? Each layer, from the host's kernel to a container.

Everything is read from what runs: processes from /proc, files by their digest now, packages from the locks beside
them, the guest's part from the guest itself.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cove.errors import MachineError
from cove.guest.client import GuestClient
from cove.host.engine import Engine
from cove.image.guest_image import GuestImage
from cove.machine.assets import Workshop
from cove.machine.store import Machine
from cove.system.files import read_json
from cove.version import __version__
from cove.vmm.boards import BOARDS

Layer = dict[str, Any]

_LOCK_IN_GUEST = "/usr/share/cove/lock.json"
_IN_GUEST = (
    ("init", "The first process of the guest; it keeps the services running.", "busybox-static", "1"),
    ("containerd", "Keeps images and starts containers.", "containerd", "/run/cove/containerd.pid"),
    (
        "Docker Engine",
        "Serves the API that your docker client talks to.",
        "docker.io",
        "/run/cove/dockerd.pid",
    ),
)


def explain(machine: Machine, workshop: Workshop) -> list[Layer]:
    """The layers, lowest first.

    Raises:
        MachineError: the machine does not run.
        GuestError, EngineError: the guest does not answer.
    """
    if not machine.running:
        raise MachineError(
            f"{machine.name} is {machine.record.state}: only what runs can be explained",
            hint=f"cove start {machine.name}",
        )
    image = GuestImage.load(workshop.home.images / machine.image)
    guest = GuestClient(machine.paths.agent_socket)
    return [
        *_host_layers(machine, workshop),
        _kernel_layer(machine, image, guest),
        _root_layer(image),
        *_guest_layers(guest),
        *_container_layers(Engine(machine.paths.docker_socket)),
    ]


def _host_layers(machine: Machine, workshop: Workshop) -> Iterator[Layer]:
    yield {
        "layer": "Host kernel",
        "what": "This computer's own system. Containers never see it.",
        "version": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    supervisor = machine.record.processes["supervisor"]
    yield {
        "layer": "Cove's supervisor",
        "what": "An ordinary process that owns the two below and ends with them.",
        "pid": supervisor.pid,
        "version": f"cove {__version__}, Python {platform.python_version()}",
        "file": str(
            Path(f"/proc/{supervisor.pid}/exe").resolve() if sys.platform == "linux" else sys.executable
        ),
    }
    yield {
        "layer": "Network: gvproxy",
        "what": "A TCP/IP stack in a process: NAT, names and forwarded sockets, without root.",
        "pid": machine.record.processes["gvproxy"].pid,
        **_tool(workshop, "net", "gvproxy"),
    }
    driver, board = machine.spec.driver, BOARDS[machine.spec.architecture]
    group, program = ("uml", "linux.uml") if driver == "uml" else (board.toolbox, board.program)
    yield {
        "layer": "User-Mode Linux" if driver == "uml" else f"Hypervisor: QEMU ({machine.spec.accel})",
        "what": "The Linux kernel itself, as a process of the host: no hypervisor."
        if driver == "uml"
        else "The computer that the guest's kernel runs on.",
        "pid": machine.record.processes["vmm"].pid,
        **_tool(workshop, group, program),
    }


def _tool(workshop: Workshop, group: str, program: str) -> Layer:
    tool = next(tool for tool in workshop.toolbox(group).packages() if tool.program == program)
    return {
        "version": tool.version or "the host's own",
        "file": str(tool.path),
        "sha256": tool.sha256,
        "package": f"{tool.package} {tool.version} from {tool.suite}" if tool.package else "",
        "package sha256": tool.deb_sha256 or "",
        "note": "loader and libraries of the copy were rewritten" if tool.patched else "",
    }


def _kernel_layer(machine: Machine, image: GuestImage, guest: GuestClient) -> Layer:
    running = guest.exec(["cat", "/proc/version"]).stdout.decode().strip()
    launched = read_json(machine.paths.launch) or {}
    kernel = Path(launched["boot"]["kernel"])
    package = image.kernel_package
    return {
        "layer": "Guest kernel",
        "what": running,
        "version": guest.call("hello")["kernel"],
        "file": str(kernel),
        "sha256": _digest(kernel),
        "package": f"{package.name} {package.version}",
        "package sha256": package.sha256,
    }


def _root_layer(image: GuestImage) -> Layer:
    lock = json.loads(image.lock.read_text())
    return {
        "layer": "Guest root",
        "what": f"An immutable erofs image, built on this computer from {len(lock['packages'])} Debian packages.",
        "file": str(image.root),
        "sha256": _digest(image.root),
        "lock": str(image.lock),
        "lock sha256": _digest(image.lock),
    }


def _guest_layers(guest: GuestClient) -> Iterator[Layer]:
    lock = json.loads(guest.exec(["cat", _LOCK_IN_GUEST]).stdout)
    packages = {package["name"]: package for package in lock["packages"]}
    for name, what, package, pid_from in _IN_GUEST:
        pid = pid_from if pid_from.isdigit() else guest.exec(["cat", pid_from]).stdout.decode().strip()
        yield _guest_layer(guest, name, what, pid, packages.get(package))


def _guest_layer(
    guest: GuestClient, name: str, what: str, pid: str, package: Mapping[str, Any] | None
) -> Layer:
    path = guest.exec(["readlink", f"/proc/{pid}/exe"]).stdout.decode().strip()
    # a guest of the user's own may have it from elsewhere than a package
    version = {"version": package["version"]} if package is not None else {}
    layer = {
        "layer": f"Guest: {name}",
        "what": what,
        "pid": f"{pid} (in the guest)",
        **version,
        "file": f"{path} (in the guest)",
        "sha256": guest.exec(["sha256sum", path]).stdout.decode().partition(" ")[0],
    }
    if package is not None:
        layer["package"] = f"{package['name']} {package['version']} from {package['suite']}"
        layer["package sha256"] = package["sha256"]
    return layer


def _container_layers(engine: Engine) -> Iterator[Layer]:
    containers = engine.get("/containers/json")
    runtime = engine.get("/info")["DefaultRuntime"]
    if not containers:
        yield {
            "layer": "Containers",
            "what": f"None runs now. {runtime} would start one as processes of the guest's kernel.",
        }
    for container in containers:
        state = engine.get(f"/containers/{container['Id']}/json")
        yield {
            "layer": f"Container {container['Names'][0].lstrip('/')}",
            "what": f"Processes of the guest's kernel, set apart by {state['HostConfig']['Runtime']}.",
            "pid": f"{state['State']['Pid']} (in the guest)",
            "image": container["Image"],
            "image sha256": container["ImageID"].removeprefix("sha256:"),
        }


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
