# SPDX-License-Identifier: Apache-2.0
"""``cove socket``: /var/run/docker.sock, for programs that know no other place of an engine."""

from __future__ import annotations

import click

from cove.cli import output
from cove.cli.context import Session
from cove.cli.options import JSON, NAME


@click.group("socket", short_help="/var/run/docker.sock for programs that want it.")
def socket_() -> None:
    """/var/run/docker.sock, for programs that look for an engine nowhere else.

    Cove never writes there, as only root may: these commands print the line that does. What knows contexts or
    DOCKER_HOST needs none of it: see cove context and cove env.
    """


@socket_.command("show")
@JSON
@click.pass_obj
def socket_show(session: Session, as_json: bool) -> None:
    """What /var/run/docker.sock is now."""
    found = session.client().system_socket()
    if as_json:
        output.as_json(found)
        return
    answers = "answers" if found["answers"] else "does not answer"
    words = {
        "absent": "is not there",
        "link": f"leads to {found['target']}, which {answers}",
        "socket": f"is an engine's own socket, and {answers}",
        "other": "is neither a socket nor a link",
    }
    output.data(f"{found['path']} {words[str(found['kind'])]}")


@socket_.command("link", short_help="The line that leads /var/run/docker.sock to a machine.")
@NAME
@click.option("--force", is_flag=True, help="Even if another engine listens there.")
@click.pass_obj
def socket_link(session: Session, name: str | None, force: bool) -> None:
    """Print the line that leads /var/run/docker.sock to a machine: cove socket link | sh."""
    line = session.pick(name).system_socket_line(force=force)
    if line is None:
        output.talk("/var/run/docker.sock leads there already.")
        return
    output.data(line)
    output.talk(
        "Nothing was done. That line needs root, and lasts until this host restarts: cove socket link | sh"
    )


@socket_.command("unlink", short_help="The line that removes the link again.")
@click.pass_obj
def socket_unlink(session: Session) -> None:
    """Print the line that removes the link again: cove socket unlink | sh."""
    output.data(session.client().system_socket_removal())
