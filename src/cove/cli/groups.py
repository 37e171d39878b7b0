# SPDX-License-Identifier: Apache-2.0
"""Which commands there are, in which order help lists them, and what a typo is answered with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from cove.cli import output

COMMANDS: Mapping[str, str] = {
    "run": "use.run",
    "docker": "use.docker",
    "shell": "use.shell",
    "create": "lifecycle.create",
    "start": "lifecycle.start",
    "stop": "lifecycle.stop",
    "suspend": "lifecycle.suspend",
    "clone": "lifecycle.clone",
    "snapshot": "snapshots.snapshot",
    "restart": "lifecycle.restart",
    "delete": "lifecycle.delete",
    "set": "resources.set_",
    "trim": "resources.trim",
    "list": "report.list_",
    "status": "report.status",
    "inspect": "report.inspect",
    "logs": "report.logs",
    "doctor": "doctor.doctor",
    "env": "report.env",
    "context": "contexts.context",
    "socket": "sockets.socket_",
    "autostart": "autostart.autostart",
    "machine": "predecessors.machine",
    "boot2docker": "predecessors.boot2docker",
    "build": "building.build",
    "boot": "boot.boot",
    "version": "report.version",
    "explain": "report.explain",
    "cache": "cache.cache",
    "completion": "report.completion",
    # what hands type that know boot2docker, colima and limactl
    "up": "lifecycle.start",
    "down": "lifecycle.stop",
    "ls": "report.list_",
    "ssh": "use.shell",
}
"""Each command's module in this package and its name there: only what is typed is loaded, since that takes time."""


def load(name: str) -> click.Command:
    """The command of that name in :data:`COMMANDS`; under another than its own help does not list it."""
    module, _, attribute = COMMANDS[name].partition(".")
    command: click.Command = getattr(import_module(f"cove.cli.{module}"), attribute)
    if command.name == name:
        return command
    other = copy.copy(command)
    other.name, other.hidden = name, True
    return other


class OrderedGroup(click.Group):
    """Lists commands in the order of their definition, and suggests one for a typo."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All commands, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        return load(name) if name in COMMANDS else None

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
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            advice = (
                f"Did you mean '{near[0]}'?"
                if near
                else f"Docker's own commands stand behind 'cove docker': cove docker {args[0]}"
            )
            raise click.UsageError(f"{error.message} {advice}", ctx) from error
