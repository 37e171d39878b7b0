# SPDX-License-Identifier: Apache-2.0
"""Words of docker-machine and boot2docker, for hands that know them: each is one of Cove's own commands."""

from __future__ import annotations

import os

import click

from cove.cli import lifecycle, options, output, report, use
from cove.cli.context import Session
from cove.errors import MachineError, NotFoundError, UsageError
from cove.units import MIB

_HOST = "127.0.0.1"


@click.group()
def machine() -> None:
    """docker-machine's commands, as Cove has them.

    The same as cove's own: create, start, stop, restart, status, env, inspect; ls is list, rm is delete, ssh is
    shell, kill is stop --force.
    """


@machine.command("create")
@click.argument("name", required=False)
@click.option("-d", "--driver", default="auto", metavar="auto|vz|uml|qemu", help="Who runs its kernel.")
@click.option("--virtualbox-cpu-count", "--hyperkit-cpu-count", "cpus", type=int, help="Virtual CPUs.")
@click.option(
    "--virtualbox-memory", "--hyperkit-memory-size", "memory", type=int, metavar="MB", help="Memory."
)
@click.option(
    "--virtualbox-disk-size",
    "--hyperkit-disk-size",
    "disk",
    type=int,
    metavar="MB",
    help="Data disk, sparse.",
)
@click.option("--virtualbox-no-share", "no_share", is_flag=True, help="Share no folder.")
@click.option("--engine-insecure-registry", "insecure", multiple=True, metavar="HOST[:PORT]", help="By http.")
@click.option(
    "--engine-registry-mirror", "mirrors", multiple=True, metavar="URL", help="Asked before Docker Hub."
)
@click.pass_obj
def machine_create(
    session: Session,
    name: str | None,
    driver: str,
    cpus: int | None,
    memory: int | None,
    disk: int | None,
    no_share: bool,
    insecure: tuple[str, ...],
    mirrors: tuple[str, ...],
) -> None:
    """Create a machine and start it, as docker-machine does."""
    created = session.client().machines.create(
        session.pick(name).name,
        driver=driver,
        cpus=cpus,
        memory=memory * MIB if memory is not None else None,
        disk=disk * MIB if disk is not None else None,
        mount_none=no_share,
        insecure_registries=insecure,
        registry_mirrors=mirrors,
    )
    created.start()
    session.close()
    output.talk(
        f'Docker is up and running. To see how to connect to it: eval "$(cove machine env {created.name})"'
    )


@machine.command("ip", short_help="Where published ports of a machine answer.")
@options.NAME
@click.pass_obj
def machine_ip(session: Session, name: str | None) -> None:
    """Where published ports of a running machine answer: this host's own loopback."""
    chosen = session.pick(name)
    if not chosen.record.running:
        raise MachineError(f"{chosen.name} is {chosen.status}", hint=f"cove start {chosen.name}")
    output.data(_HOST)


@machine.command("url")
@options.NAME
@click.pass_obj
def machine_url(session: Session, name: str | None) -> None:
    """What DOCKER_HOST has to be for a running machine."""
    chosen = session.pick(name)
    if not chosen.record.running:
        raise MachineError(f"{chosen.name} is {chosen.status}", hint=f"cove start {chosen.name}")
    output.data(chosen.docker_host)


@machine.command("active", short_help="The machine that docker's clients talk to here.")
@click.pass_obj
def machine_active(session: Session) -> None:
    """The machine that docker's clients talk to here: by DOCKER_HOST, else by docker's current context."""
    client = session.client()
    host = os.environ.get("DOCKER_HOST")
    for one in client.machines:
        if host == one.docker_host:
            output.data(one.name)
            return
    if not host:
        for context in client.contexts():
            if context["current"]:
                output.data(context["machine"])
                return
    raise NotFoundError("no active machine", hint='eval "$(cove env NAME)", or cove context use NAME')


@machine.command(
    "ssh",
    short_help="A shell, or a command, inside the guest.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def machine_ssh(session: Session, name: str, command: tuple[str, ...]) -> int:
    """A shell, or a command, inside the guest (over Cove's own agent: there is no ssh)."""
    chosen = session.pick(name)
    chosen.ensure_running()
    session.close()
    # ssh hands its words to a shell, so that they may hold one's own syntax
    argv = ["/bin/sh", "-c", " ".join(command)] if command else ["/bin/sh", "-l"]
    env = {"TERM": os.environ.get("TERM", "dumb"), "HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return chosen.guest().interactive(argv, env=env, cwd="/root")


@machine.command("scp", short_help="Copy between this host and a guest.")
@click.option("-r", "--recursive", is_flag=True, help="Copy a folder with all that is in it.")
@click.option("-q", "--quiet", is_flag=True, hidden=True)
@click.argument("source")
@click.argument("target")
@click.pass_obj
def machine_scp(session: Session, recursive: bool, quiet: bool, source: str, target: str) -> int:  # noqa: ARG001
    """Copy between this host and a guest; one of both is written NAME:PATH."""
    from_guest, to_guest = _remote(session, source), _remote(session, target)
    if (from_guest is None) == (to_guest is None):
        raise UsageError(
            "one of source and target is in a machine, the other here", hint="Write it NAME:PATH."
        )
    name, path = from_guest or to_guest or ("", "")
    chosen = session.pick(name)
    chosen.ensure_running()
    session.close()
    from cove.sdk import copying

    if to_guest is not None:
        return copying.to_guest(chosen, source, path, recursive=recursive)
    return copying.from_guest(chosen, path, target, recursive=recursive)


@machine.command("kill")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
def machine_kill(session: Session, names: tuple[str, ...]) -> None:
    """End machines at once; containers get no chance to stop."""
    for name in names or (None,):
        session.pick(name).stop(deadline=0)


@machine.command("upgrade", short_help="Bring kernel and engine to Debian's newest.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
def machine_upgrade(session: Session, names: tuple[str, ...]) -> None:
    """Bring a machine's kernel and engine to Debian's newest; a running one is restarted if there are newer."""
    for name in names or (None,):
        chosen = session.pick(name)
        changed = chosen.upgrade()
        session.close()
        output.talk(f"{chosen.name} {'has a newer guest now' if changed else 'is up to date'}")


@click.group(short_help="boot2docker's commands, as Cove has them.")
def boot2docker() -> None:
    """boot2docker's commands, as Cove has them.

    The same as cove's own: init is create, up is start, down and poweroff are stop, save is suspend, shellinit is
    env, ssh is shell; restart, status and delete have their own names.
    """


@boot2docker.command("info")
@options.NAME
@click.pass_obj
def boot2docker_info(session: Session, name: str | None) -> None:
    """Everything about a machine, as JSON."""
    output.as_json(session.pick(name).inspect())


def _remote(session: Session, text: str) -> tuple[str, str] | None:
    """``NAME:PATH`` taken apart; None for a path of this host, as everything with a slash before the colon is."""
    name, colon, path = text.partition(":")
    if not colon or not name or "/" in name:
        return None
    return (session.client().machines.get(name).name, path or ".")


for _name, _command in {
    "env": report.env, "inspect": report.inspect, "ls": report.list_, "restart": lifecycle.restart,
    "rm": lifecycle.delete, "start": lifecycle.start, "status": report.status, "stop": lifecycle.stop,
}.items():  # fmt: skip
    machine.add_command(_command, _name)
for _name, _command in {
    "init": lifecycle.create, "up": lifecycle.start, "down": lifecycle.stop, "poweroff": lifecycle.stop,
    "save": lifecycle.suspend, "shellinit": report.env, "ssh": use.shell, "ip": machine_ip, "socket": machine_url,
    "status": report.status, "restart": lifecycle.restart, "delete": lifecycle.delete, "upgrade": machine_upgrade,
}.items():  # fmt: skip
    boot2docker.add_command(_command, _name)
