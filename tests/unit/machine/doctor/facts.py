# SPDX-License-Identifier: Apache-2.0
"""A host on which nothing is wrong, and how to spoil it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cove.machine.doctor.facts import Alive, Examined, MachineState, Names, Place
from cove.spec.abilities import Abilities, Guards
from cove.spec.facts import HostFacts, MemoryPlace
from tests.unit.machine.world import SPEC

NOW = 1_800_000_000.0
HOST = HostFacts(
    system="linux",
    machine="x86_64",
    release="6.12.48+deb13-amd64",
    cpus=8,
    memory=2**34,
    page_size=4096,
    kvm="openable",
    kvm_works=True,
    kvm_reason="a kernel booted in 0.4 s",
    memory_places=(MemoryPlace(path="/dev/shm", free=2**33),),
)
GUARDS = Guards(landlock=7, seccomp=True, namespaces=True)
ABILITIES = Abilities(
    path="/home/ann/.cove",
    exists=True,
    owned=True,
    writable=True,
    kind="ext4",
    noexec=False,
    free=2**36,
    sockets=True,
    locks=True,
    links=True,
    modes=True,
    sparse=True,
    case_sensitive=True,
)
WELL = Examined(
    host=HOST,
    guards=GUARDS,
    now=NOW,
    places=(Place(role="COVE_HOME", path="/home/ann/.cove", abilities=ABILITIES),),
    names=Names(servers=("192.0.2.53", "192.0.2.54"), silent=()),
    archive_trouble="",
)


def host(**changes: Any) -> Examined:
    return replace(WELL, host=replace(HOST, **changes))


def held(**changes: Any) -> Examined:
    return replace(WELL, guards=replace(GUARDS, **changes))


def home(role: str = "COVE_HOME", **changes: Any) -> Examined:
    found = replace(ABILITIES, **changes)
    return replace(WELL, places=(Place(role=role, path="/home/ann/.cove", abilities=found),))  # type: ignore[arg-type]


def machine(**changes: Any) -> Examined:
    state = MachineState(name="dev", folder="/home/ann/.cove/m/dev", spec=SPEC, has_disk=True, log="/log")
    return replace(WELL, machines=(replace(state, **changes),))


def running(**changes: Any) -> Examined:
    return machine(state="running", started=True, alive=Alive(**{"clock": 0.0, "disk_used": 0.1, **changes}))
