# SPDX-License-Identifier: Apache-2.0
"""Which commands there are, in which order help lists them, and what a typo is answered with."""

from __future__ import annotations

import copy
import difflib
from typing import Any

import click

from cove.cli import (
    autostart,
    boot,
    building,
    cache,
    contexts,
    doctor,
    lifecycle,
    output,
    predecessors,
    report,
    resources,
    snapshots,
    sockets,
    use,
)


class OrderedGroup(click.Group):
    """Lists commands in the order of their definition, and suggests one for a typo."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All commands, in the order in which a newcomer needs them."""
        return list(self.commands)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the arguments; help is printed here."""
        with output.broken_pipes():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Do what was asked for."""
        with output.broken_pipes():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command.

        Raises:
            click.UsageError: there is none of that name; names the nearest.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            advice = (
                f"Did you mean '{near[0]}'?"
                if near
                else f"Docker's own commands stand behind 'cove docker': cove docker {args[0]}"
            )
            raise click.UsageError(f"{error.message} {advice}", ctx) from error


def _alias(name: str, command: click.Command) -> click.Command:
    """The same command under another name, which help does not list."""
    other = copy.copy(command)
    other.name, other.hidden = name, True
    return other


COMMANDS: list[click.Command] = [
    use.run,
    use.docker,
    use.shell,
    lifecycle.create,
    lifecycle.start,
    lifecycle.stop,
    lifecycle.suspend,
    lifecycle.clone,
    snapshots.snapshot,
    lifecycle.restart,
    lifecycle.delete,
    resources.set_,
    resources.trim,
    report.list_,
    report.status,
    report.inspect,
    report.logs,
    doctor.doctor,
    report.env,
    contexts.context,
    sockets.socket_,
    autostart.autostart,
    predecessors.machine,
    predecessors.boot2docker,
    building.build,
    boot.boot,
    report.version,
    report.explain,
    cache.cache,
    report.completion,
    # what hands type that know boot2docker, colima and limactl
    _alias("up", lifecycle.start),
    _alias("down", lifecycle.stop),
    _alias("ls", report.list_),
    _alias("ssh", use.shell),
]
