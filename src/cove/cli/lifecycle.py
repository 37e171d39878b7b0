# SPDX-License-Identifier: Apache-2.0
"""Commands of a machine's life: create, start, stop, restart, delete."""

from __future__ import annotations

import sys
from typing import Any

import click

from cove.cli import output, texts
from cove.cli.context import DEFAULT, Session
from cove.cli.options import JSON, NAME, settings
from cove.errors import ConflictError, UsageError


@click.command()
@NAME
@click.option(
    "--driver", default="auto", show_default=True, metavar="auto|vz|uml|qemu", help="Who runs its kernel."
)
@click.option(
    "--accel",
    default="auto",
    show_default=True,
    metavar="auto|kvm|hvf|tcg",
    help="What executes it under qemu.",
)
@click.option(
    "--arch",
    default="auto",
    show_default=True,
    metavar="auto|x86_64|aarch64",
    help="Architecture of kernel and engine; one that is not this host's is emulated.",
)
@click.option(
    "--mount-type",
    default="auto",
    show_default=True,
    metavar="auto|virtiofs|9p",
    help="How folders get into the guest; 9p is for qemu alone.",
)
@settings
@click.option(
    "--image",
    multiple=True,
    metavar="YML",
    help="LinuxKit YAML of a guest of its own, with Cove's agent; repeatable, the files are merged.",
)
@click.option("--start", "start_it", is_flag=True, help="Start it at once.")
@JSON
@click.pass_obj
def create(session: Session, /, name: str | None, start_it: bool, as_json: bool, **wishes: Any) -> None:
    """Create a machine."""
    machine = session.client().machines.create(_one_name(session, name), **wishes)
    if start_it:
        machine.start()
    session.close()
    if as_json:
        output.as_json(machine.inspect())
    else:
        output.data(machine.name)


@click.command(short_help="Start a machine, or let a suspended one go on.")
@NAME
@click.option(
    "--cold", is_flag=True, help="Boot it even if it is suspended; what it had in memory is given up."
)
@click.option("--timings", is_flag=True, help="Print when the start reached which stage.")
@JSON
@click.pass_obj
def start(session: Session, name: str | None, cold: bool, timings: bool, as_json: bool) -> None:
    """Start a machine, or let a suspended one go on; the default one is created if need be."""
    machine = session.pick(name)
    was_running = machine.exists and machine.record.running
    machine.start(create=machine.name == DEFAULT, cold=cold, since_exec=True)
    session.close()
    if as_json:
        output.as_json(machine.inspect())
        return
    if timings:
        output.table(texts.TIMINGS_HEADER, texts.timings(machine.inspect()["timings"]))
    if was_running:
        output.talk(f"{machine.name} is running already")
    elif not session.quiet:
        output.talk(
            f'{machine.name} is running. Docker clients reach it with: eval "$(cove env {machine.name})"'
        )


@click.command(short_help="Write a running machine to the disk as it is.")
@NAME
@click.option(
    "--asleep", is_flag=True, help="Keep its docker socket and ports open; whoever connects wakes it."
)
@click.pass_obj
def suspend(session: Session, name: str | None, asleep: bool) -> None:
    """Write a running machine to the disk, containers and all; cove start lets it go on where it was."""
    machine = session.pick(name)
    ran = machine.suspend(asleep=asleep)
    session.close()
    if not ran:
        output.talk(f"{machine.name} is suspended already")


@click.command(short_help="Copy a machine, with all that it does.")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--count", type=int, metavar="N", help="Make N of them: DST-1, DST-2 ...")
@click.option("--start", "start_them", is_flag=True, help="Start them at once.")
@JSON
@click.pass_obj
def clone(
    session: Session, source: str, target: str, count: int | None, start_them: bool, as_json: bool
) -> None:
    """Copy a machine: a running or suspended one with all that it does, else its disk. A copy costs what it changes."""
    clones = session.client().machine(source).clone(target, count=count)
    if start_them:
        for one in clones:
            one.start()
    session.close()
    if as_json:
        output.as_json([one.inspect() for one in clones])
    else:
        for one in clones:
            output.data(one.name)


@click.command(short_help="Stop a machine, its containers first.")
@NAME
@click.option("-f", "--force", is_flag=True, help="End it at once; containers get no chance to stop.")
@click.option(
    "-t", "--timeout", type=float, default=30.0, show_default=True, help="Seconds until it is ended."
)
@click.option("-a", "--all", "all_", is_flag=True, help="Stop every machine.")
@click.pass_obj
def stop(session: Session, name: str | None, force: bool, timeout: float, all_: bool) -> None:
    """Stop a machine: its containers, then its disk, then its kernel."""
    if timeout < 0:
        raise UsageError("--timeout is a number of seconds, and not below zero")
    machines = session.client().machines.list() if all_ else [session.pick(name)]
    for machine in machines:
        ran = machine.stop(deadline=0 if force else timeout)
        session.close()
        if not ran and not all_:
            output.talk(f"{machine.name} is not running")


@click.command()
@NAME
@click.option("-f", "--force", is_flag=True, help="End it at once; containers get no chance to stop.")
@click.option(
    "-t", "--timeout", type=float, default=30.0, show_default=True, help="Seconds until it is ended."
)
@click.pass_obj
def restart(session: Session, name: str | None, force: bool, timeout: float) -> None:
    """Stop a machine and start it again."""
    machine = session.pick(name)
    machine.stop(deadline=0 if force else timeout)
    machine.start()


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-f", "--force", is_flag=True, help="Do not ask, and end it if it runs.")
@click.pass_obj
def delete(session: Session, names: tuple[str, ...], force: bool) -> None:
    """Delete machines with their data disks."""
    for name in names or (None,):
        # one that does not exist is said before anything is asked
        machine = session.client().machines.get(session.pick(name).name)
        if not force:
            _confirm(machine.name)
        machine.delete(force=force)
        session.close()
        output.talk(f"{machine.name} is deleted")


def _confirm(name: str) -> None:
    if not sys.stdin.isatty():
        raise ConflictError(
            f"{name} was not deleted: there is no terminal to ask on", hint=f"cove delete --force {name}"
        )
    click.confirm(f"Delete {name} with all its containers, images and volumes?", abort=True, err=True)


def _one_name(session: Session, name: str | None) -> str:
    return session.pick(name).name
