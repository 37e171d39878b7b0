# SPDX-License-Identifier: Apache-2.0
"""A machine as JSON data: what ``--json`` prints. Its keys are stable."""

from __future__ import annotations

from typing import Any

from cove.host.contexts import context_name
from cove.machine.course import timings
from cove.machine.disks import data_disk
from cove.machine.resources import pending
from cove.machine.store import Machine
from cove.system.files import allocated, read_json


def describe(machine: Machine) -> dict[str, Any]:
    """Everything recorded of a machine; sizes in bytes, times in seconds (since the epoch where absolute)."""
    spec, record, paths = machine.spec, machine.record, machine.paths
    disk = data_disk(paths)
    return {
        "name": spec.name,
        "status": str(record.state),
        "reason": record.reason,
        "since": record.since,
        "uptime": machine.uptime(),
        "created": machine.created,
        "driver": spec.driver,
        "accel": spec.accel,
        "architecture": spec.architecture,
        "cpus": spec.cpus,
        "memory": spec.memory,
        "disk": {
            "size": spec.disk,
            "allocated": allocated(disk) if disk.exists() else 0,
            "path": str(disk),
        },
        "pending": pending(machine),
        "context": context_name(machine.name),
        "shares": [{"path": share.path, "writable": share.writable} for share in spec.shares],
        "file_events": spec.file_events,
        "binfmt": spec.binfmt,
        "idle_suspend": spec.idle_suspend,
        "registries": {
            "insecure": list(spec.registries.insecure),
            "mirrors": list(spec.registries.mirrors),
        },
        "mount_type": spec.mount_type,
        "image": machine.image,
        "image_files": list(spec.image),
        "docker_host": f"unix://{paths.docker_socket}",
        "folder": str(paths.root),
        "processes": {role: process.pid for role, process in record.processes.items()},
        "stages": [{"name": name, "seconds": seconds} for name, seconds in record.stages],
        "timings": timings(read_json(paths.boot)),
        "host_cpu": record.host_cpu,
        "ports": [dict(port) for port in record.ports],
    }
