# SPDX-License-Identifier: Apache-2.0
"""Commands for what a machine has: set, trim."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from cove.cli import output
from cove.cli.context import Session
from cove.cli.options import JSON, NAME, settings
from cove.errors import UsageError
from cove.units import format_size


@click.command("set", short_help="Change what a machine has.")
@NAME
@settings
@click.option(
    "--registries-none",
    is_flag=True,
    help="Forget insecure registries and mirrors but those that are named here.",
)
@JSON
@click.pass_obj
def set_(session: Session, /, name: str | None, as_json: bool, **changes: Any) -> None:
    """Change what a machine has: CPUs, memory, disk, shared folders, registries.

    A running machine gets most of it at its next start; registries count at once, and the disk grows.
    """
    source = click.get_current_context().get_parameter_source
    if all(source(option) is ParameterSource.DEFAULT for option in changes):
        raise UsageError("nothing was given to change", hint="Give --cpus, --memory, --disk or --mount.")
    machine = session.pick(name)
    pending = machine.set(**changes)
    session.close()
    if as_json:
        output.as_json(machine.inspect())
    elif pending:
        output.talk(
            f"{machine.name} gets its {' and '.join(pending)} at its next start: cove restart {machine.name}"
        )


@click.command(short_help="Give unused disk space back to this host.")
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
