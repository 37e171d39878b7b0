# SPDX-License-Identifier: Apache-2.0
"""Change what a machine has, grow its disk, and give back to the host what its file system does not use."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from cove.errors import CommandError, MachineError
from cove.events import Report, stage
from cove.guest.client import GuestClient
from cove.machine.client import SupervisorClient
from cove.machine.config import load_config
from cove.machine.disks import data_disk, size_of
from cove.machine.drivers import driver_named
from cove.machine.settings import gather, tell_engine
from cove.machine.store import Machine, Store
from cove.spec.change import SpecChange, change
from cove.spec.machine import MachineSpec
from cove.system.files import allocated, locked, read_json
from cove.system.probe import host_facts

_LOCK_DEADLINE = 60.0
_RESIZE_DEADLINE = 120.0
_TRIM_DEADLINE = 600.0
_DATA = "/var/lib"
_RESOURCES = ("cpus", "memory", "disk", "shares", "file_events", "binfmt")


@dataclass(frozen=True, kw_only=True)
class Trimmed:
    """What came of a trim.

    Args:
        told: bytes that the guest's file system reported as unused, also those that never were used.
        freed: bytes that the data disk takes less on the host's disk now.
        allocated: bytes that it takes still.
    """

    told: int
    freed: int
    allocated: int


def set_resources(store: Store, name: str, wanted: SpecChange, report: Report) -> Machine:
    """Change what a machine has, from its next start on; a disk grows at once where it can, registries count at once.

    Raises:
        NotFoundError: there is no such machine.
        UsageError: the host or the driver cannot do it, or the disk would shrink; nothing is changed.
        MachineError, CommandError: the running machine's disk did not grow; it will at the next start.
        GuestError, DeadlineError: the running engine could not be told of registries; nothing is changed.
    """
    paths = store.find(name)
    with locked(paths.start_lock, waiting_for=f"starting {name}", deadline=_LOCK_DEADLINE):
        machine = store.load(name)
        spec = change(machine.spec, wanted, host_facts(os.environ))
        if wanted.registries is not None and machine.running:
            files = gather(spec, load_config(store.home.config), store.home, os.environ)
            tell_engine(machine.paths, files, report)
        store.set_spec(machine, spec)
        if wanted.idle_suspend is not None and machine.supervised:
            client = SupervisorClient(machine.paths.supervisor_socket, name)
            client.call("POST", "/v1/idle", {"minutes": spec.idle_suspend})
        grows = spec.disk > machine.spec.disk
        if grows and machine.running and driver_named(spec.driver).capabilities.grow_disk:
            with stage(report, "disk", "Growing the disk"):
                _grow_online(machine, spec)
    return store.load(name)


def pending(machine: Machine) -> list[str]:
    """The resources that a running machine gets only at its next start."""
    if not machine.running:
        return []
    launched = (read_json(machine.paths.launch) or {}).get("spec", {})
    wanted = machine.spec.to_dict()
    waiting = [name for name in _RESOURCES if launched.get(name, wanted[name]) != wanted[name]]
    # a disk that grew meanwhile has its size already
    disk = data_disk(machine.paths)
    has_disk = disk.exists() and size_of(disk) >= machine.spec.disk
    return [name for name in waiting if not (name == "disk" and has_disk)]


def trim(machine: Machine) -> Trimmed:
    """Give the blocks that the guest's file system does not use back to the host.

    Raises:
        MachineError: the machine does not run.
        GuestError, DeadlineError: the guest could not do it.
    """
    if not machine.running:
        raise MachineError(f"{machine.name} is {machine.record.state}", hint=f"cove start {machine.name}")
    disk = data_disk(machine.paths)
    before = allocated(disk)
    told = GuestClient(machine.paths.agent_socket).call("trim", deadline=_TRIM_DEADLINE)["bytes"]
    after = allocated(disk)
    return Trimmed(told=int(told), freed=max(0, before - after), allocated=after)


def _grow_online(machine: Machine, spec: MachineSpec) -> None:
    """Grow the device of a running machine, then the file system on it."""
    asyncio.run(
        driver_named(spec.driver).grow_disk(machine.paths.qmp_socket, data_disk(machine.paths), spec.disk)
    )
    guest = GuestClient(machine.paths.agent_socket)
    (device,) = {entry["source"] for entry in guest.call("mounts")["mounts"] if entry["target"] == _DATA}
    # the device may be larger
    argv = ["resize2fs", device, f"{spec.disk // 1024}K"]
    done = guest.exec(argv, deadline=_RESIZE_DEADLINE)
    if done.code != 0:
        raise CommandError(
            "growing the file system in the guest failed",
            argv=argv,
            returncode=done.code,
            output=(done.stdout + done.stderr).decode(errors="replace"),
        )
