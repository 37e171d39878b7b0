# SPDX-License-Identifier: Apache-2.0
"""Read a machine's logs: files on the host, or the services' logs inside the guest."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from cove.errors import MachineError, NotFoundError
from cove.guest.client import GuestClient
from cove.machine.store import Machine

_FOLLOW_EVERY = 0.2
_PIECE = 65536


def read_log(machine: Machine, source: str, *, tail: int | None, follow: bool) -> Iterator[bytes]:
    """The log, piece by piece.

    Args:
        machine: whose.
        source: "supervisor", "console" or "network" (on the host), else a service of the guest.
        tail: only that many last lines.
        follow: go on with what comes, until the caller has enough or (guest) the machine ends.

    Raises:
        NotFoundError: the machine has no such log yet.
        MachineError: a guest's log was asked for, and the machine does not run.
    """
    files = {
        "supervisor": machine.paths.supervisor_log,
        "console": machine.paths.console_log,
        "network": machine.paths.gvproxy_log,
    }
    if source in files:
        return _read_file(files[source], machine.name, tail, follow=follow)
    return _read_guest(machine, source, tail, follow=follow)


def _read_file(path: Path, name: str, tail: int | None, *, follow: bool) -> Iterator[bytes]:
    if not path.exists():
        raise NotFoundError(f"{name} has no {path.name} yet", hint=f"It begins with: cove start {name}")
    with path.open("rb") as stream:
        if tail is not None:
            yield b"".join(deque(stream, maxlen=tail))
        while True:
            if piece := stream.read(_PIECE):
                yield piece
            elif follow:
                time.sleep(_FOLLOW_EVERY)  # as tail -f: the file tells nobody that it grew
            else:
                return


def _read_guest(machine: Machine, source: str, tail: int | None, *, follow: bool) -> Iterator[bytes]:
    if not machine.running:
        raise MachineError(
            f"{machine.name} is {machine.record.state}: the log of {source} lives in the guest's memory",
            hint=f"cove start {machine.name}",
        )
    argv = ["tail", "-n", "+1" if tail is None else str(tail), *(["-F"] if follow else [])]
    client = GuestClient(machine.paths.agent_socket)
    if follow:
        client.interactive([*argv, f"/var/log/{source}.log"], env={}, cwd="/", tty=False)
        return
    yield client.exec([*argv, f"/var/log/{source}.log"]).stdout
