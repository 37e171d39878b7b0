# SPDX-License-Identifier: Apache-2.0
"""Commands for machines that start with their user's session: ``cove autostart enable|disable|status``."""

from __future__ import annotations

from dataclasses import asdict

import click

from cove.cli import output
from cove.cli.context import Session
from cove.cli.options import JSON, NAME


@click.group(short_help="Start a machine whenever you log in.")
def autostart() -> None:
    """Start a machine whenever you log in: a systemd user unit on Linux, a launchd agent on macOS.

    On Linux it starts when the host boots, too, once you are allowed to linger: loginctl enable-linger.
    """


@autostart.command()
@NAME
@click.pass_obj
def enable(session: Session, name: str | None) -> None:
    """Start a machine at each login from now on."""
    machine = session.pick(name)
    done = machine.enable_autostart()
    output.talk(f"{machine.name} starts at your next login ({done.manager}: {done.file})")


@autostart.command()
@NAME
@click.pass_obj
def disable(session: Session, name: str | None) -> None:
    """Start it at logins no more; a running machine goes on."""
    machine = session.pick(name)
    if not machine.disable_autostart():
        output.talk(f"{machine.name} did not start at logins")


@autostart.command()
@NAME
@JSON
@click.pass_obj
def status(session: Session, name: str | None, as_json: bool) -> int:
    """Whether it starts at logins. Exits with 0 if it does, else with 1."""
    found = session.pick(name).autostart()
    if as_json:
        output.as_json({**asdict(found), "file": str(found.file)})
    else:
        output.data("enabled" if found.enabled else "disabled")
    return 0 if found.enabled else 1
