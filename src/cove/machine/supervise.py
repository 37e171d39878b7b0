# SPDX-License-Identifier: Apache-2.0
"""``python -m cove.machine.supervise FOLDER SOCKET_FD LOCK_FD``: the supervisor's process. Not for people."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cove.machine.boot_watch import BootWatch
from cove.machine.bounds import network_bounds, share_bounds
from cove.machine.course import Course
from cove.machine.crew import Crew
from cove.machine.drivers import driver_named
from cove.machine.plan import LaunchPlan
from cove.machine.runtimes import MTUS
from cove.machine.saved.folder import SavedGuest
from cove.net.gvproxy import Gvproxy
from cove.spec.shares import tag
from cove.system.files import read_json
from cove.system.paths import MachinePaths
from cove.system.process import Identity
from cove.vmm.virtiofsd import ShareDaemon

if TYPE_CHECKING:
    from cove.machine.api import Server
    from cove.machine.supervisor import Supervisor

_API_PATIENCE = 1.0
"""Seconds that a guest which goes on has the host's processors for itself, before what serves our API is loaded."""


async def supervise(paths: MachinePaths, listener: socket.socket) -> None:
    """Carry out the plan in the machine's folder, from start to stop; then answer the last requests and end."""
    plan = LaunchPlan.from_dict(read_json(paths.launch))
    course = Course.from_dict(read_json(paths.boot))
    shares = _share_daemons(plan, paths, paths.share_dir)
    crew = Crew(paths, plan, driver_named(plan.spec.driver), _network(paths, plan), shares)
    watched = BootWatch(paths.name, paths.console_log, course)
    if plan.resume:
        await crew.begin_loading(SavedGuest(paths.saved), watched.on_console)
    from cove.machine.assembly import assemble  # most of our code: it is loaded while the VMM starts

    trial_shares = _share_daemons(plan, paths, paths.share_dir / "t", strict=True)
    supervisor, keeper = assemble(paths, plan, crew, watched, course, shares, trial_shares)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.ask_to_stop, 30.0)
    life = asyncio.create_task(supervisor.run())
    owned = asyncio.create_task(_go_with(plan.owner, supervisor)) if plan.owner else None
    if plan.resume:
        with suppress(TimeoutError):
            await asyncio.wait_for(supervisor.begun.wait(), _API_PATIENCE)
    server = (await asyncio.to_thread(_server))(supervisor)
    await server.start(listener)
    gc.freeze()  # what is loaded now stays; the collector need not look at it again
    try:
        await life
    finally:
        keeper.close()  # what was taken before its life as a companion began
        await server.stop()
        paths.supervisor_socket.unlink(missing_ok=True)
        if owned is not None and plan.owner is not None:
            owned.cancel()
            if not plan.owner.alive():
                from cove.machine.owner import remove_own

                await asyncio.to_thread(remove_own, paths)


async def _go_with(owner: Identity, supervisor: Supervisor) -> None:
    """End a throw-away machine when the process that it is for has ended."""
    from cove.machine.owner import end_of

    await end_of(owner)
    supervisor.ask_to_stop(0)


def _server() -> type[Server]:
    """What serves our API. Its library is slow to load, and the machine's start does not need it."""
    from cove.machine.api import Server

    return Server


def _network(paths: MachinePaths, plan: LaunchPlan) -> Gvproxy:
    return Gvproxy(
        plan.tools["gvproxy"],
        driver=plan.spec.driver,
        net_socket=paths.network_socket,
        api_socket=paths.gvproxy_socket,
        mtu=MTUS[plan.spec.driver],
        log=paths.gvproxy_log,
        confinement=network_bounds(plan, paths),
    )


def _share_daemons(
    plan: LaunchPlan, paths: MachinePaths, folder: Path, *, strict: bool = False
) -> list[ShareDaemon]:
    return [
        ShareDaemon(
            plan.tools["virtiofsd"],
            driver=plan.spec.driver,
            share=share,
            tag=tag(number),
            socket_path=folder / f"{number}.sock",
            log=paths.share_log,
            confinement=share_bounds(plan, share),
            host_cpu=plan.host_cpu,
            strict=strict,
        )
        for number, share in enumerate(plan.spec.shares if plan.spec.share_daemons else ())
    ]


def main(arguments: list[str]) -> None:
    """Read the arguments, set the process up, and supervise. The lock's descriptor is only kept open."""
    folder, listener, _lock = arguments
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # our terminal may go
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.run(supervise(MachinePaths(Path(folder)), socket.socket(fileno=int(listener))))


if __name__ == "__main__":
    main(sys.argv[1:])
