# SPDX-License-Identifier: Apache-2.0
"""Operations on the engine and its settings; see :mod:`cove_guest.ops`."""

from __future__ import annotations

import os
import time

from cove_guest.procfs import uptime
from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cove_guest.requests import Answer, Context, Request

_LONGEST_WAIT = 3600.0
_GATEWAY = "192.168.127.1"


def search(context: Context, request: Request) -> Answer:
    """Complete short names with these domains; containers do so from their next start on."""
    domains = request.arguments.get("domains")
    if not isinstance(domains, list) or not all(
        isinstance(domain, str) and domain.isascii() and domain.isprintable() and " " not in domain
        for domain in domains
    ):
        raise RefusedError("bad-argument", "domains must be a list of domains")
    path = f"{context.run}/resolv.conf"
    with open(f"{path}.new", "w") as file:
        file.write(f"nameserver {_GATEWAY}\n")
        if domains:
            file.write(f"search {' '.join(domains)}\n")
    os.rename(f"{path}.new", path)
    return {}


def configure(context: Context, request: Request) -> Answer:
    """Give dockerd new settings; see :mod:`cove_guest.settings`."""
    from cove_guest import settings

    files, restart = request.arguments.get("files"), request.arguments.get("restart", False)
    if not isinstance(files, dict) or not all(
        isinstance(text, str) and "\0" not in name and all(ord(each) < 256 for each in text)
        for name, text in files.items()
    ):
        raise RefusedError("bad-argument", "files must be texts of bytes by path")
    return settings.configure(context.run, context.engine, files, restart=restart is True)


def engine(context: Context, request: Request) -> Answer:
    """What the engine says of itself."""
    end = time.monotonic() + min(request.number("deadline", 10), _LONGEST_WAIT)
    version = context.engine.get_json("/version", end)
    info = context.engine.get_json("/info", end)
    return {
        "version": _some(version, "Version", "ApiVersion", "Os", "Arch", "KernelVersion", "Components"),
        "info": _some(
            info, "Containers", "ContainersRunning", "Images", "Driver", "CgroupDriver", "CgroupVersion",
            "DefaultRuntime", "NCPU", "MemTotal", "OperatingSystem", "ServerVersion", "Warnings",
        ),
    }  # fmt: skip


def _some(value: Answer, *names: str) -> Answer:
    return {name: value[name] for name in names if name in value}


def wait_engine(context: Context, request: Request) -> Answer:
    """Wait for the engine's first answer, as long as the host waits for ours."""
    begun = time.monotonic()
    context.engine.wait(begun + min(request.number("deadline", 60), _LONGEST_WAIT), request.peer)
    return {"waited": round(time.monotonic() - begun, 3), "uptime": uptime()}
