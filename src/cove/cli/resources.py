# SPDX-License-Identifier: Apache-2.0
"""Commands for what a machine has: set, trim."""

from __future__ import annotations

import click

from cove.cli import output
from cove.cli.context import Session
from cove.cli.lifecycle import IDLE_SUSPEND, INSECURE_REGISTRY, JSON, NAME, REGISTRY_MIRROR
from cove.errors import UsageError
from cove.units import format_size, parse_size


@click.command("set")
@NAME
@click.option("-c", "--cpus", type=int, metavar="N", help="Virtual CPUs.")
@click.option("--memory", metavar="SIZE", help="Memory: 4G, 1536M; a bare number is GiB.")
@click.option("-d", "--disk", metavar="SIZE", help="Data disk: 128G; a bare number is GiB. It only grows.")
@click.option(
    "--mount", "mounts", multiple=True, metavar="PATH[:ro]", help="Share this folder too; repeatable."
)
@click.option("--mount-none", is_flag=True, help="Share nothing but what --mount names.")
@click.option(
    "--file-events/--no-file-events",
    default=None,
    help="Changes on this host wake file watchers in containers.",
)
@click.option(
    "--binfmt/--no-binfmt", default=None, help="Containers of other architectures run too, emulated."
)
@IDLE_SUSPEND
@INSECURE_REGISTRY
@REGISTRY_MIRROR
@click.option(
    "--registries-none",
    is_flag=True,
    help="Forget insecure registries and mirrors but those that are named here.",
)
@JSON
@click.pass_obj
def set_(
    session: Session,
    name: str | None,
    cpus: int | None,
    memory: str | None,
    disk: str | None,
    mounts: tuple[str, ...],
    mount_none: bool,
    file_events: bool | None,
    binfmt: bool | None,
    idle_suspend: int | None,
    insecure_registries: tuple[str, ...],
    registry_mirrors: tuple[str, ...],
    registries_none: bool,
    as_json: bool,
) -> None:
    """Change what a machine has: CPUs, memory, disk, shared folders, registries.

    A running machine gets most of it at its next start; registries count at once, and under qemu the disk grows.
    """
    lists = (mounts, mount_none, insecure_registries, registry_mirrors, registries_none)
    if not any(lists) and all(one is None for one in (cpus, memory, disk, file_events, binfmt, idle_suspend)):
        raise UsageError("nothing was given to change", hint="Give --cpus, --memory, --disk or --mount.")
    machine = session.pick(name)
    pending = machine.set(
        cpus=cpus,
        memory=parse_size(memory, default_unit="g") if memory else None,
        disk=parse_size(disk, default_unit="g") if disk else None,
        mounts=mounts,
        mount_none=mount_none,
        file_events=file_events,
        binfmt=binfmt,
        idle_suspend=idle_suspend,
        insecure_registries=insecure_registries,
        registry_mirrors=registry_mirrors,
        registries_none=registries_none,
    )
    session.close()
    if as_json:
        output.as_json(machine.inspect())
    elif pending:
        output.talk(
            f"{machine.name} gets its {' and '.join(pending)} at its next start: cove restart {machine.name}"
        )


@click.command()
@NAME
@JSON
@click.pass_obj
def trim(session: Session, name: str | None, as_json: bool) -> None:
    """Give disk space that a machine does not use any more back to this host."""
    done = session.pick(name).trim()
    if as_json:
        output.as_json({"told": done.told, "freed": done.freed, "allocated": done.allocated})
    else:
        output.data(
            f"Total reclaimed space: {format_size(done.freed)}; the disk takes {format_size(done.allocated)}"
        )
