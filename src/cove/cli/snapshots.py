# SPDX-License-Identifier: Apache-2.0
"""Commands for snapshots: ``cove snapshot save|list|restore|delete``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cove.cli import output
from cove.cli.context import Session
from cove.cli.options import JSON, NAME
from cove.cli.texts import SNAPSHOT_HEADER, snapshot_row
from cove.errors import UsageError

if TYPE_CHECKING:
    from cove.sdk import Machine

NAMES = click.argument("names", nargs=-1, required=True, metavar="[MACHINE] SNAPSHOT")


@click.group(short_help="Named points of a machine to go back to.")
def snapshot() -> None:
    """Named points of a machine, to go back to.

    Under qemu a snapshot of a running machine has its memory too: restored, its containers go on where they were.
    With other drivers it has the disk.
    """


@snapshot.command()
@NAMES
@JSON
@click.pass_obj
def save(session: Session, names: tuple[str, ...], as_json: bool) -> None:
    """Save what a machine is now."""
    machine, name = _pick(session, names)
    made = machine.snapshots.save(name)
    session.close()
    if as_json:
        output.as_json(made)
    else:
        output.data(name)


@snapshot.command("list")
@NAME
@JSON
@click.pass_obj
def list_(session: Session, name: str | None, as_json: bool) -> None:
    """List the snapshots of a machine, the oldest first."""
    found = session.pick(name).snapshots.list()
    if as_json:
        output.as_json(found)
    else:
        output.table(SNAPSHOT_HEADER, [snapshot_row(each) for each in found])


@snapshot.command(short_help="Make a machine what it was at a snapshot.")
@NAMES
@click.pass_obj
def restore(session: Session, names: tuple[str, ...]) -> None:
    """Make a machine what it was at a snapshot; what it is now is given up."""
    machine, name = _pick(session, names)
    machine.snapshots.restore(name)
    session.close()
    output.talk(f"{machine.name} is {machine.status}, as it was at {name}")


@snapshot.command(short_help="Delete a snapshot; others stay as they are.")
@NAMES
@click.pass_obj
def delete(session: Session, names: tuple[str, ...]) -> None:
    """Delete a snapshot; the machine and its other snapshots stay as they are."""
    machine, name = _pick(session, names)
    machine.snapshots.delete(name)
    output.talk(f"The snapshot {name} of {machine.name} is deleted")


def _pick(session: Session, names: tuple[str, ...]) -> tuple[Machine, str]:
    """The machine, by default the one that other commands mean, and the snapshot."""
    if len(names) > 2:
        raise UsageError("too many names", hint="Name a machine, or none, and one snapshot.")
    *machine, name = names
    return session.pick(machine[0] if machine else None), name
