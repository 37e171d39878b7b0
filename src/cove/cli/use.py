# SPDX-License-Identifier: Apache-2.0
"""Commands that use a machine: run, docker, shell."""

from __future__ import annotations

import os

import click

from cove.cli import output
from cove.cli.context import Session
from cove.errors import UsageError
from cove.sdk import detaches, split_machine

PASS_THROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


@click.command(context_settings=PASS_THROUGH, short_help="Run a container: docker run, on the machine.")
@click.argument(
    "args", nargs=-1, type=click.UNPROCESSED, metavar="[-m NAME] [--fresh] [OPTIONS] IMAGE [COMMAND]..."
)
@click.pass_obj
def run(session: Session, args: tuple[str, ...]) -> int:
    """Run a container: docker run, on the machine; with --fresh on an engine that is thrown away afterwards.

    Such an engine is a copy of the machine that -m names, or of one called "fresh", which has nothing in it and is
    made when it is missing.
    """
    machine, rest = split_machine(args)
    if rest[:1] != ("--fresh",):
        return session.pick(machine).docker(("run", *rest))
    other, rest = split_machine(rest[1:])
    if detaches(rest):
        raise UsageError(
            "--fresh throws the engine away when docker returns, and with -d that is at once",
            hint="Leave -d out, or make an engine that stays: cove clone fresh NAME; cove -m NAME run -d ...",
        )
    template = other or machine or session.machine
    with session.client().fresh(template) as engine:
        return engine.docker_wait(("run", *rest))


@click.command(context_settings=PASS_THROUGH, short_help="Docker's own command line, on the machine.")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[-m NAME] COMMAND...")
@click.pass_obj
def docker(session: Session, args: tuple[str, ...]) -> int:
    """Docker's own command line, with compose and buildx, on the machine."""
    machine, rest = split_machine(args)
    return session.pick(machine).docker(rest)


@click.command(context_settings=PASS_THROUGH, short_help="A shell, or a command, inside the guest itself.")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[-m NAME] [COMMAND]...")
@click.pass_obj
def shell(session: Session, args: tuple[str, ...]) -> int:
    """A shell, or a command, inside the guest itself (as root, beside the engine)."""
    name, rest = split_machine(args)
    if rest in (("--help",), ("-h",)):
        output.data(click.get_current_context().get_help())
        return 0
    if rest[:1] == ("--",):
        rest = rest[1:]
    machine = session.pick(name)
    machine.ensure_running()
    session.close()
    env = {"TERM": os.environ.get("TERM", "dumb"), "HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    env |= {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "COLORTERM")}
    argv = list(rest) if rest else ["/bin/sh", "-l"]
    return machine.guest().interactive(argv, env=env, cwd="/root", tty=None)
