# SPDX-License-Identifier: Apache-2.0
"""Commands for docker's contexts: ``cove context ls|use|create|rm``."""

from __future__ import annotations

import os

import click

from cove.cli import output
from cove.cli.context import Session
from cove.cli.options import JSON, NAME

HEADER = ("NAME", "MACHINE", "DOCKER ENDPOINT")


@click.group(short_help="Docker contexts of machines.")
def context() -> None:
    """Docker contexts: let every docker client on this host find a machine.

    Each machine has one, named cove for the default machine and cove-NAME for others; it is written into your
    docker configuration when the machine is made, and removed with it. None is made the current one unless asked.
    """


@context.command("ls")
@JSON
@click.pass_obj
def context_list(session: Session, as_json: bool) -> None:
    """List the contexts of machines; the current one has a star."""
    found = session.client().contexts()
    if as_json:
        output.as_json(found)
        return
    rows = [
        (one["name"] + (" *" if one["current"] else ""), one["machine"], one["docker_host"]) for one in found
    ]
    output.table(HEADER, rows)


@context.command("use", short_help="Have docker's clients use a machine.")
@NAME
@click.pass_obj
def context_use(session: Session, name: str | None) -> None:
    """Make a machine what docker's clients talk to; back with: docker context use default."""
    chosen = session.pick(name).use_context()
    output.data(chosen)
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        if os.environ.get(variable):
            output.talk(f"{variable} is set, and overrides the current context: unset {variable}")


@context.command("create")
@NAME
@click.pass_obj
def context_create(session: Session, name: str | None) -> None:
    """Write a machine's context again."""
    output.data(session.pick(name).write_context())


@context.command("rm")
@NAME
@click.pass_obj
def context_remove(session: Session, name: str | None) -> None:
    """Remove a machine's context; its next start writes it again."""
    machine = session.pick(name)
    if not machine.remove_context():
        output.talk(f"{machine.name} has no context")
