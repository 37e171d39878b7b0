# SPDX-License-Identifier: Apache-2.0
"""How reports read for people. Pure: data in, text out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cove.units import format_seconds, format_size

if TYPE_CHECKING:
    from cove.sdk import Record

LIST_HEADER = ("NAME", "STATUS", "DRIVER", "CPUS", "MEMORY", "DISK", "DOCKER HOST")

SNAPSHOT_HEADER = ("NAME", "CREATED", "PARENT", "MEMORY", "SIZE")


def snapshot_row(snapshot: Mapping[str, Any]) -> tuple[str, ...]:
    """One snapshot as a row of ``cove snapshot list``."""
    return (
        snapshot["name"],
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(snapshot["created"])),
        snapshot["parent"] or "",
        "yes" if snapshot["memory"] else "no",
        format_size(snapshot["size"]),
    )


TIMINGS_HEADER = ("STAGE", "AT", "TOOK")


def timings(found: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    """The stages of a start as rows: when each was reached, and how long that was after the one before."""
    stages = found["stages"] if found else []
    return [(one["name"], f"{one['at']:.2f} s", f"{one['seconds']:.2f} s") for one in stages]


def list_row(machine: Record) -> tuple[str, ...]:
    """One machine as a row of ``cove list``."""
    spec = machine.spec
    running = machine.running
    uptime = f" {format_seconds(machine.uptime() or 0)}" if running else ""
    return (
        spec.name,
        f"{machine.record.state}{uptime}",
        driver(machine),
        str(spec.cpus),
        format_size(spec.memory),
        format_size(spec.disk),
        f"unix://{machine.paths.docker_socket}" if running else "",
    )


def driver(machine: Record) -> str:
    """The driver, with its accelerator where it has one."""
    accel = machine.spec.accel
    return machine.spec.driver if accel == "none" else f"{machine.spec.driver}/{accel}"


def status(machine: Record) -> str:
    """One machine for ``cove status``."""
    record = machine.record
    head = f"{machine.name} is {record.state}" + (f": {record.reason}" if record.reason else "")
    if not machine.running:
        return head
    rows = [
        ("driver", f"{driver(machine)}, {machine.spec.cpus} CPU, {format_size(machine.spec.memory)}"),
        ("docker", f"unix://{machine.paths.docker_socket}"),
        ("uptime", format_seconds(machine.uptime() or 0)),
        *((role, f"pid {process.pid}") for role, process in record.processes.items()),
        *_ports(record.ports),
    ]
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join([head, *(f"{name + ':':{width}}{value}" for name, value in rows)])


def _ports(ports: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What containers have published, each number once, and what the host could not give, each with its reason."""
    had = dict.fromkeys(
        f"{each['port']}/{each['protocol']} ({each['container']})" for each in ports if not each["error"]
    )
    rows = [("ports", ", ".join(had))] if had else []
    return rows + [
        (
            "no port",
            f"{each['address']} {each['port']}/{each['protocol']} ({each['container']}): {each['error']}",
        )
        for each in ports
        if each["error"]
    ]


def versions(found: Mapping[str, Any]) -> str:
    """``cove version``, shaped as ``docker version``."""
    lines: list[str] = []
    for side in ("client", "server"):
        part = found[side]
        lines.append(f"{side.capitalize()}:" + ("" if part else " not running"))
        if part:
            lines += _aligned(part)
        lines.append("")
    return "\n".join(lines[:-1])


def _aligned(part: Mapping[str, Any]) -> list[str]:
    width = max(len(key) for key in part) + 2
    return [f" {_label(key) + ':':{width}}{value}" for key, value in part.items()]


def _label(key: str) -> str:
    # docker's own spelling where it has one
    return {"os_arch": "OS/Arch", "api_version": "API version"}.get(key, key.replace("_", " ").capitalize())


def explanation(layers: Sequence[Mapping[str, Any]]) -> str:
    """``cove explain``: a numbered layer a paragraph, from the host's kernel up to a container."""
    paragraphs = []
    for number, layer in enumerate(layers, 1):
        lines = [f"{number}. {layer['layer']}", f"   {layer['what']}"]
        details = {key: value for key, value in layer.items() if key not in ("layer", "what") and value}
        width = max((len(key) for key in details), default=0) + 2
        lines += [f"   {key + ':':{width}}{value}" for key, value in details.items()]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)
