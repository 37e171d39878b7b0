# SPDX-License-Identifier: Apache-2.0
"""What a boot needs before it can begin, made ready. A guest that goes on needs none of it, and does not load this."""

from __future__ import annotations

import os
from pathlib import Path

from cove.errors import CoveError
from cove.events import Note
from cove.machine.assets import Workshop
from cove.machine.disks import ensure_disk, layers_of
from cove.machine.drivers import driver_named
from cove.machine.placement import choose_host_cpu
from cove.machine.plan import LaunchPlan
from cove.machine.settings import gather, tell_engine, write_disk
from cove.machine.shares import check_present, hidden_folders
from cove.machine.store import Machine, Store
from cove.spec.facts import choose_memory_place
from cove.system.files import link_to
from cove.system.probe import host_facts
from cove.system.process import Command
from cove.vmm.base import BootFiles


def renew_settings(machine: Machine, workshop: Workshop) -> None:
    """Tell the engine of a guest that went on what this host says about it now; a failure is only reported."""
    try:
        files = gather(machine.spec, workshop.config, workshop.home, os.environ)
        tell_engine(machine.paths, files, workshop.report)
    except CoveError as error:
        workshop.report(Note(f"The engine keeps the settings that it had: {error.message}."))


def prepare(store: Store, machine: Machine, workshop: Workshop) -> LaunchPlan:
    """Everything a start needs, as data; what is missing is fetched and built.

    Raises:
        CoveError: programs, image or disk cannot be made.
    """
    spec = machine.spec
    check_present(spec.shares)
    driver = driver_named(spec.driver)
    tools: dict[str, Command] = {}
    firmware: list[Path] = []
    for group in (*driver.needs(spec), "net", *(["share"] if spec.share_daemons else [])):
        toolbox = workshop.toolbox(group)
        tools |= {program.name: toolbox.command(program.name) for program in toolbox.group.programs}
        firmware += toolbox.firmware
    guest = workshop.guest(spec)
    store.set_image(machine, guest.id)
    disk = ensure_disk(machine.paths, spec.disk)
    write_disk(machine.paths, gather(spec, workshop.config, store.home, os.environ))
    image = guest.root.parent
    if spec.driver == "uml":  # its command line cannot name every path
        link_to(image, machine.paths.image_link)
        image = machine.paths.image_link
    return LaunchPlan(
        spec=spec,
        boot=BootFiles(
            kernel=guest.kernel or Path(tools["linux.uml"].argv[0]),
            initrd=image / guest.initrd.name,
            root=image / guest.root.name,
            data=disk,
            layers=tuple(layers_of(disk)),
            settings=machine.paths.settings,
            cmdline=guest.cmdline,
        ),
        tools=tools,
        firmware=tuple(firmware),
        memory_dir=choose_memory_place(host_facts(os.environ), spec.memory, machine.paths.vm_dir),
        host_cpu=choose_host_cpu(spec.driver),
        hidden=hidden_folders(spec.shares, store.home),
        resolv_conf=workshop.config.resolv_conf,
        owner=machine.owner,
    )
