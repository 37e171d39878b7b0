# SPDX-License-Identifier: Apache-2.0
"""What is wrong with machines: their files, what runs of them, their ports and clocks. Pure."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from cove.errors import CoveError
from cove.machine.doctor.facts import Alive, Examined, MachineState
from cove.machine.doctor.finding import Finding, problem, warning
from cove.spec.choice import choose_driver
from cove.spec.facts import HostFacts
from cove.spec.machine import MachineRequest, MachineSpec

CLOCK_TOLERANCE = 1.0
"""Seconds that a guest's clock may be off; it is set every minute, and at once after the host slept."""

DISK_NEARLY_FULL = 0.95
"""The part of a data disk that is in use from which on pulls and builds fail."""

_PERMISSION = {os.strerror(13), os.strerror(1)}


def check_machines(facts: Examined) -> Iterator[Finding]:
    """All findings about machines."""
    for machine in facts.machines:
        yield from _files(machine)
        yield from _life(machine)
        if machine.spec is not None:
            yield from _driver(machine.spec, facts.host)
        for port in machine.ports:
            yield from _port(machine.name, port, mac=facts.host.system == "darwin")
        if machine.alive is not None:
            yield from _alive(machine.name, machine.alive)
    for name, file in facts.autostart_stale.items():
        yield warning(
            "autostart-stale",
            subject=name,
            what=f"the machine {name} is gone, and is still started at logins",
            why=f"Each login tries it and fails ({file}).",
            fix=f"cove autostart disable {name}",
        )


def _files(machine: MachineState) -> Iterator[Finding]:
    if machine.damage:
        yield problem(
            "machine-damaged",
            subject=machine.name,
            what=f"{machine.folder}/machine.json does not describe a machine: {machine.damage}",
            why="It cannot be started, and cove list fails.",
            fix=f"restore that file from a backup, or lose its containers: cove delete -f {machine.name}",
        )
    elif machine.spec is None:
        yield warning(
            "machine-remnant",
            subject=machine.name,
            what=f"{machine.folder} has no machine.json, but {', '.join(machine.remnant)}",
            why="No command sees it; it takes space, and keeps the name.",
            fix=f"rm -r {shlex.quote(machine.folder)}"
            + (", unless you want the disk in it" if "data.img" in machine.remnant else ""),
        )
    elif machine.started and not machine.has_disk:
        yield problem(
            "data-disk-missing",
            subject=machine.name,
            what=f"{machine.folder}/data.img is gone",
            why="The next start makes an empty one: images, containers and volumes would be lost.",
            fix="restore that file from a backup before the next start",
        )
    for share in machine.shares_missing:
        yield problem(
            "share-missing",
            subject=machine.name,
            what=f"the shared folder {share} is no folder (any more)",
            why="The machine does not start without it.",
            fix=f"mkdir -p {shlex.quote(share)}",
        )


def _life(machine: MachineState) -> Iterator[Finding]:
    if machine.leftovers:
        yield problem(
            "machine-leftovers",
            subject=machine.name,
            what=f"its supervisor is gone, and {', '.join(machine.leftovers)} still run",
            why="They hold its memory and ports, and nobody leads them.",
            fix=f"cove stop {machine.name}",
        )
    elif machine.state == "failed":
        yield warning(
            "machine-failed",
            subject=machine.name,
            what=f"it has failed: {machine.reason or 'for no recorded reason'}",
            why=f"Its log says more: {machine.log}",
            fix=f"cove start {machine.name}",
        )


def _driver(spec: MachineSpec, host: HostFacts) -> Iterator[Finding]:
    request = MachineRequest(
        name=spec.name,
        driver=spec.driver,
        accel="auto" if spec.accel == "none" else spec.accel,
        arch=spec.architecture,
    )
    try:
        choose_driver(request, host)
    except CoveError as error:
        yield problem(
            "machine-driver",
            subject=spec.name,
            what=error.message,
            why=error.details or "The machine was made for it, and does not start without it.",
            fix=f"{error.hint or 'Use another driver.'} (A machine keeps its driver: another one needs cove create.)",
        )


def _port(machine: str, port: Mapping[str, Any], *, mac: bool) -> Iterator[Finding]:
    error = port.get("error")
    if not error:
        return
    where = f"{port['address']}:{port['port']}/{port['protocol']}"
    why = f"The container {port['container']} runs, and cannot be reached there."
    if error in _PERMISSION and port["port"] < 1024:
        yield problem(
            "port-low",
            subject=machine,
            what=f"{where} is reserved for root on this host",
            why=why,
            fix=f"publish it on all addresses: -p {port['port']}:PORT"
            if mac
            else f"sudo sysctl net.ipv4.ip_unprivileged_port_start={port['port']}, "
            f"then: cove -m {machine} docker restart {port['container']}",
        )
        return
    list_it = (
        f"lsof -nP -i {port['protocol']}:{port['port']}"
        if mac
        else f"ss -Hlnp {'-t' if port['protocol'] == 'tcp' else '-u'} 'sport = :{port['port']}'"
    )
    yield problem(
        "port-taken",
        subject=machine,
        what=f"{where} could not be had: {error}",
        why=why,
        fix=f"see who has it ({list_it}), then: cove -m {machine} docker restart {port['container']}",
    )


def _alive(machine: str, alive: Alive) -> Iterator[Finding]:
    for part, trouble in (
        ("supervisor", alive.supervisor),
        ("agent", alive.agent),
        ("engine", alive.engine),
    ):
        if trouble:
            yield problem(
                f"{part}-silent",
                subject=machine,
                what=f"its {part} does not answer: {trouble}",
                why="It counts as running, but cannot be used as it should.",
                fix=f"cove restart {machine}, or cove stop --force {machine} && cove start {machine}",
            )
    if alive.clock is not None and abs(alive.clock) > CLOCK_TOLERANCE:
        yield warning(
            "guest-clock",
            subject=machine,
            what=f"its clock is {abs(alive.clock):.1f} s {'ahead of' if alive.clock > 0 else 'behind'} this host's",
            why="Certificates, builds and signatures go by it.",
            fix=f'cove -m {machine} shell date -s "@$(date +%s)"',
        )
    if alive.disk_used is not None and alive.disk_used >= DISK_NEARLY_FULL:
        yield warning(
            "guest-disk-full",
            subject=machine,
            what=f"{alive.disk_used:.0%} of its data disk are in use",
            why="Pulls, builds and containers that write will fail.",
            fix=f"cove -m {machine} docker system prune, or cove set {machine} --disk SIZE",
        )
