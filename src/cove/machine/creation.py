# SPDX-License-Identifier: Apache-2.0
"""Create a machine: look at the host, try KVM where it might work, fill the request, make the folder."""

from __future__ import annotations

import os
from dataclasses import replace

from cove.errors import ConflictError
from cove.events import Note, stage
from cove.machine.assets import Workshop, guest_files
from cove.machine.contexts import publish
from cove.machine.store import Machine, Store
from cove.spec.choice import kvm_is_worth_trying
from cove.spec.facts import HostFacts
from cove.spec.fill import fill
from cove.spec.machine import MachineRequest, architecture_named
from cove.system.probe import Trial, host_facts, kvm_verdict
from cove.vmm.boards import BOARDS


def create(store: Store, request: MachineRequest, workshop: Workshop) -> Machine:
    """Create the machine that ``request`` describes.

    Raises:
        ConflictError: there is a machine of this name.
        UsageError, UnsupportedError: it cannot be made like this on this host, or its guest's YAML is wrong.
        NotFoundError: its guest's YAML is not there.
    """
    if store.exists(request.name):
        raise ConflictError(
            f"there is a machine {request.name!r} already", hint=f"Start it: cove start {request.name}"
        )
    facts = facts_for(request, workshop)
    spec, reason = fill(request, facts)
    if spec.image:
        guest_files(spec).load()  # what is wrong with it is told now
    machine = store.create(spec)
    accel = f"/{spec.accel}" if spec.accel != "none" else ""
    workshop.report(Note(f"Created the machine {spec.name}: driver {spec.driver}{accel} ({reason})"))
    publish(machine, store.home, workshop.report)
    return machine


def facts_for(request: MachineRequest | None, workshop: Workshop) -> HostFacts:
    """What was found on this host; KVM is tried if the request's driver hangs on that."""
    facts = host_facts(os.environ)
    worth = request is not None and kvm_is_worth_trying(request, facts)
    return _with_verdict(facts, workshop) if worth else facts


def _with_verdict(facts: HostFacts, workshop: Workshop) -> HostFacts:
    """The facts with what came of booting a kernel under KVM, tried at most once per host kernel and QEMU."""
    board = BOARDS[architecture_named(facts.machine)]
    qemu = workshop.toolbox(board.toolbox)
    kernel = workshop.probe_kernel(board.architecture)
    with stage(workshop.report, "kvm", "Trying KVM"):
        bed = Trial(
            qemu=qemu.command(board.program),
            kernel=kernel,
            architecture=board.architecture,
            machine=board.machine_for("kvm"),
            console=board.console,
            restart=board.restart,
            accel=board.cpus["kvm"],
            firmware=qemu.firmware,
        )
        verdict = kvm_verdict(bed, workshop.home.probes)
    return replace(facts, kvm_works=verdict.works, kvm_reason=verdict.reason)
