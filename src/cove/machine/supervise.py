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
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from cove.guest.relay import DOCKER, Tunnel
from cove.host import binds
from cove.host.drawn_ports import with_numbers
from cove.host.engine_calls import EngineCalls
from cove.host.forward import free_number
from cove.host.names.resolver import Resolver
from cove.host.ports import ephemeral_range
from cove.machine.bounds import network_bounds, share_bounds
from cove.machine.clock import ClockKeeper
from cove.machine.config import load_config
from cove.machine.container_proxies import amender
from cove.machine.course import Course
from cove.machine.drivers import driver_named
from cove.machine.file_events import FileEvents
from cove.machine.front import front
from cove.machine.gate import Gate
from cove.machine.idle import Clients, IdleWatch
from cove.machine.names import NameKeeper
from cove.machine.parts import Companion
from cove.machine.plan import LaunchPlan
from cove.machine.ports import PortKeeper
from cove.machine.runtimes import MTUS
from cove.machine.share_holders import LostFiles
from cove.machine.share_keeper import ShareKeeper
from cove.machine.supervisor import Supervisor
from cove.net.forwards import HOST
from cove.net.gvproxy import Gvproxy
from cove.spec.shares import tag
from cove.system.files import read_json
from cove.system.paths import Home, MachinePaths
from cove.system.process import Identity
from cove.vmm.virtiofsd import ShareDaemon, most_files

if TYPE_CHECKING:
    from cove.machine.api import Server


async def supervise(paths: MachinePaths, listener: socket.socket) -> None:
    """Carry out the plan in the machine's folder, from start to stop; then answer the last requests and end."""
    plan = LaunchPlan.from_dict(read_json(paths.launch))
    supervisor, keeper = _assemble(paths, plan)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.ask_to_stop, 30.0)
    life = asyncio.create_task(supervisor.run())
    owned = asyncio.create_task(_go_with(plan.owner, supervisor)) if plan.owner else None
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


def _assemble(paths: MachinePaths, plan: LaunchPlan) -> tuple[Supervisor, PortKeeper]:
    """The supervisor with all its parts, and the one of them that holds ports from before it runs."""
    home = Home.of(paths)
    tunnel = Tunnel(paths.relay_socket)
    engine = EngineCalls(partial(tunnel.open, DOCKER))
    gate = Gate()
    keeper = PortKeeper(tunnel, engine, gate)
    clients = Clients()
    idle = IdleWatch(plan.spec.idle_suspend, engine, paths.agent_socket, clients)
    names = NameKeeper(tunnel, paths.agent_socket, Resolver(IPv4Address(HOST), resolv_conf=plan.resolv_conf))
    shares = _share_daemons(plan, paths, paths.share_dir)
    supervisor = Supervisor(
        paths,
        plan,
        driver_named(plan.spec.driver),
        _network(paths, plan),
        front=front(
            paths,
            keeper,
            partial(binds.refusal, machine=paths.name, shares=plan.spec.shares, hidden=plan.hidden),
            _amend(home, paths, plan),
            gate=gate,
            changed=clients.changed,
        ),
        gate=gate,
        idle=idle,
        course=Course.from_dict(read_json(paths.boot)),
        companions=[
            idle,
            names,
            ClockKeeper(paths.agent_socket),
            keeper,
            *_share_companions(plan, paths, shares, engine),
        ],
        before_running=keeper.prepare,
        before_stopping=engine.leave,
        shares=shares,
        trial_shares=_share_daemons(plan, paths, paths.share_dir / "t", strict=True),
        lost_files=LostFiles(paths.share_log, plan.spec.shares, engine.mounts) if shares else None,
    )
    keeper.report = supervisor.tell_ports
    idle.suspend = partial(supervisor.suspend, asleep=True)
    return supervisor, keeper


def _amend(home: Home, paths: MachinePaths, plan: LaunchPlan) -> Callable[[bytes], bytes]:
    """What changes the requests that create containers."""
    give_proxies = amender(home, load_config(home.config), os.environ)
    if not plan.cloned:
        return give_proxies
    first, last = ephemeral_range(str(paths.root))
    draw = partial(free_number, first=first, last=last)
    return lambda body: with_numbers(give_proxies(body), draw)


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


def _share_companions(
    plan: LaunchPlan, paths: MachinePaths, shares: Sequence[ShareDaemon], engine: EngineCalls
) -> list[Companion]:
    def processes() -> list[Identity]:
        return [share.identity for share in shares if share.identity is not None]

    found: list[Companion] = []
    if shares:
        found.append(ShareKeeper(paths.agent_socket, processes, most_files()))
    if plan.spec.shares and plan.spec.file_events and sys.platform == "linux":
        found.append(FileEvents(engine, paths.agent_socket, plan.spec.shares, plan.hidden))
    return found


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
