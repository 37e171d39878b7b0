# SPDX-License-Identifier: Apache-2.0
"""Commands that report: list, status, inspect, logs, env, version, explain, completion."""

from __future__ import annotations

import os
import sys

import click

from cove.cli import output, texts
from cove.cli.context import Session
from cove.cli.options import JSON, NAME
from cove.errors import UsageError
from cove.sdk import LOG_SOURCES


@click.command("list")
@click.option("-q", "--quiet", is_flag=True, help="Names alone.")
@JSON
@click.pass_obj
def list_(session: Session, quiet: bool, as_json: bool) -> None:
    """List the machines."""
    machines = session.client().machines.list()
    if as_json:
        output.as_json([machine.inspect() for machine in machines])
    elif quiet:
        for machine in machines:
            output.data(machine.name)
    else:
        output.table(texts.LIST_HEADER, [texts.list_row(machine.record) for machine in machines])


@click.command()
@NAME
@JSON
@click.pass_obj
def status(session: Session, name: str | None, as_json: bool) -> int:
    """How a machine is. Exits with 0 if it runs, else with 1."""
    machine = session.pick(name)
    record = machine.record
    if as_json:
        output.as_json(machine.inspect())
    else:
        output.data(texts.status(record))
    return 0 if record.running else 1


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "_as_json", is_flag=True, hidden=True, help="It is JSON anyway.")
@click.pass_obj
def inspect(session: Session, names: tuple[str, ...], _as_json: bool) -> None:
    """Everything about machines, as a JSON list."""
    output.as_json([session.pick(name).inspect() for name in names or (None,)])


@click.command()
@NAME
@click.option(
    "-s",
    "--source",
    type=click.Choice(LOG_SOURCES),
    default="supervisor",
    show_default=True,
    help="Whose log.",
)
@click.option("--boot", is_flag=True, help="The stages of the last start, and the guest's console.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.pass_obj
def logs(session: Session, name: str | None, source: str, boot: bool, follow: bool, tail: int | None) -> None:
    """A machine's logs."""
    if boot and not follow and (stages := texts.timings(session.pick(name).inspect()["timings"])):
        output.table(texts.TIMINGS_HEADER, stages)
        output.data("")
        sys.stdout.flush()
    for piece in session.pick(name).logs("console" if boot else source, tail=tail, follow=follow):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


@click.command(short_help="Lines that point Docker clients at a machine.")
@NAME
@click.option("--shell", metavar="bash|zsh|fish", help="The shell's dialect (default: that of $SHELL).")
@click.option("-u", "--unset", is_flag=True, help="Lines that remove the variables.")
@JSON
@click.pass_obj
def env(session: Session, name: str | None, shell: str | None, unset: bool, as_json: bool) -> None:
    """Shell lines that point Docker clients at a machine: eval "$(cove env)"."""
    machine = session.pick(name)
    machine.record  # noqa: B018  (a machine that does not exist has no environment)
    if as_json:
        output.as_json(dict(machine.environment()))
        return
    if shell not in (None, "bash", "zsh", "sh", "fish"):
        raise UsageError(f"there are no lines for the shell {shell!r}", hint="Use bash, zsh, sh or fish.")
    command = "cove env" + (f" {name}" if name else "") + (" --unset" if unset else "")
    output.data(machine.shell_lines(shell=shell or os.environ.get("SHELL"), unset=unset, command=command))


@click.command()
@NAME
@JSON
@click.pass_obj
def version(session: Session, name: str | None, as_json: bool) -> None:
    """Versions of client and server side by side."""
    found = session.pick(name).versions()
    if as_json:
        output.as_json(found)
    else:
        output.data(texts.versions(found))


@click.command(short_help="Where does the Linux kernel come from?")
@NAME
@JSON
@click.pass_obj
def explain(session: Session, name: str | None, as_json: bool) -> None:
    """Where does the Linux kernel come from? Each layer from this host to a container, read from what runs."""
    layers = session.pick(name).explain()
    session.close()
    if as_json:
        output.as_json(layers)
    else:
        output.data(texts.explanation(layers))


@click.command(short_help="A completion script for your shell.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """A completion script for a shell: source <(cove completion bash)."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"there is no completion for {shell}")
    output.data(kind(click.get_current_context().find_root().command, {}, "cove", "_COVE_COMPLETE").source())
