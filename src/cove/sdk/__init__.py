# SPDX-License-Identifier: Apache-2.0
"""What Python programs use, the command line among them.

    client = cove.Client()
    machine = client.machines.create("test", driver="uml")
    machine.start()
    print(machine.docker_host)

Nothing heavy is imported before it is needed: ``cove status`` answers in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cove.sdk.client import Client
from cove.sdk.collection import MachineCollection
from cove.sdk.creation import DEFAULT
from cove.sdk.handle import Record
from cove.sdk.machine import Machine

if TYPE_CHECKING:
    from cove.machine.doctor.finding import Examination as Examination
    from cove.machine.doctor.finding import Finding as Finding

__all__ = [
    "DEFAULT",
    "LOG_SOURCES",
    "Client",
    "Machine",
    "MachineCollection",
    "Record",
    "detaches",
    "split_machine",
]

LOG_SOURCES = ("supervisor", "console", "network", "dockerd", "containerd", "agent")
"""Whose logs there are: three on the host, three in the guest."""


def split_machine(args: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Take ``--machine NAME`` or ``-m NAME`` off the front of docker's arguments.

    Raises:
        UsageError: no name follows, or it cannot name a machine.
    """
    from cove.host.docker_args import split_machine as split

    return split(args)


def detaches(args: Sequence[str]) -> bool:
    """Whether ``docker run`` with these arguments leaves its container in the background (``-d``)."""
    from cove.host.docker_args import detaches as look

    return look(args)
