# SPDX-License-Identifier: Apache-2.0
"""Whether a suspended machine can go on, and the plan for that: the very plan that its guest was started with."""

from __future__ import annotations

import os
from dataclasses import replace

from cove.errors import MachineError, UsageError
from cove.events import Note, Report
from cove.machine.disks import data_disk, layers_of
from cove.machine.drivers import driver_named
from cove.machine.placement import choose_host_cpu
from cove.machine.plan import LaunchPlan
from cove.machine.saved.folder import SavedGuest
from cove.machine.shares import check_present, hidden_folders
from cove.machine.state import State
from cove.machine.store import Machine
from cove.spec.facts import choose_memory_place
from cove.system.paths import Home
from cove.system.probe import host_facts


def resumption(machine: Machine, home: Home, report: Report) -> LaunchPlan | None:
    """The plan to let a suspended machine go on; None for one that has to boot. Why a guest is given up is reported."""
    if machine.record.state is not State.SUSPENDED:
        return None
    guest = SavedGuest(machine.paths.saved)
    reasons = _reasons(machine, guest, home)
    if reasons:
        report(Note(f"{machine.name} cannot go on where it was: {'; '.join(reasons)}."))
        return None
    plan = guest.read().plan
    cloned = plan.spec.name != machine.name
    disk = data_disk(machine.paths)
    boot = replace(plan.boot, data=disk, layers=tuple(layers_of(disk)), settings=machine.paths.settings)
    return replace(
        plan,
        spec=machine.spec,
        boot=boot,
        memory_dir=choose_memory_place(host_facts(os.environ), machine.spec.memory, machine.paths.vm_dir),
        host_cpu=choose_host_cpu(machine.spec.driver),
        resume=True,
        owner=machine.owner,
        # a clone's memory is the file of another; share daemons would have to write to it
        private=cloned and not machine.spec.share_daemons,
        cloned=cloned or plan.cloned,
    )


def _reasons(machine: Machine, guest: SavedGuest, home: Home) -> list[str]:
    if not guest.exists:
        return ["what was saved of it is gone"]
    try:
        check_present(machine.spec.shares)
        layers_of(data_disk(machine.paths))
    except (UsageError, MachineError) as error:
        return [error.message]
    reasons = guest.misfits(driver_named(machine.spec.driver), machine.spec, data_disk(machine.paths))
    if not reasons and dict(guest.read().plan.hidden) != hidden_folders(machine.spec.shares, home):
        reasons = ["Cove's own folders lie elsewhere in its shares"]
    return reasons
