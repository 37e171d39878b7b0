# SPDX-License-Identifier: Apache-2.0
"""All parts of a supervisor, put together. Apart, as it is most of our code: it is loaded while a VMM starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address

from cove.guest.relay import DOCKER, Tunnel
from cove.host import binds
from cove.host.drawn_ports import with_numbers
from cove.host.engine_calls import EngineCalls
from cove.host.forward import free_number
from cove.host.names.resolver import Resolver
from cove.host.ports import ephemeral_range
from cove.machine.boot_watch import BootWatch
from cove.machine.clock import ClockKeeper
from cove.machine.config import load_config
from cove.machine.container_proxies import amender
from cove.machine.course import Course
from cove.machine.crew import Crew
from cove.machine.drivers import driver_named
from cove.machine.file_events import FileEvents
from cove.machine.front import front
from cove.machine.gate import Gate
from cove.machine.idle import Clients, IdleWatch
from cove.machine.names import NameKeeper
from cove.machine.parts import Companion
from cove.machine.plan import LaunchPlan
from cove.machine.ports import PortKeeper
from cove.machine.share_holders import LostFiles
from cove.machine.share_keeper import ShareKeeper
from cove.machine.supervisor import Supervisor
from cove.net.forwards import HOST
from cove.system.paths import Home, MachinePaths
from cove.system.process import Identity
from cove.vmm.virtiofsd import ShareDaemon, most_files


def assemble(
    paths: MachinePaths,
    plan: LaunchPlan,
    crew: Crew,
    watched: BootWatch,
    course: Course,
    shares: Sequence[ShareDaemon],
    trial_shares: Sequence[ShareDaemon],
) -> tuple[Supervisor, PortKeeper]:
    """The supervisor with all its parts, and the one of them that holds ports from before it runs.

    Args:
        paths: the machine's files.
        plan: what is started.
        crew: what runs for it, or will.
        watched: the guest's console.
        course: what its start has reached so far.
        shares: what serves the host's folders to it.
        trial_shares: the same again, for the VMM that tries a saved guest.
    """
    home = Home.of(paths)
    tunnel = Tunnel(paths.relay_socket)
    engine = EngineCalls(partial(tunnel.open, DOCKER))
    gate = Gate()
    keeper = PortKeeper(tunnel, engine, gate)
    clients = Clients()
    idle = IdleWatch(plan.spec.idle_suspend, engine, paths.agent_socket, clients)
    names = NameKeeper(tunnel, paths.agent_socket, Resolver(IPv4Address(HOST), resolv_conf=plan.resolv_conf))
    supervisor = Supervisor(
        paths,
        plan,
        driver_named(plan.spec.driver),
        crew,
        watched=watched,
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
        course=course,
        companions=[
            idle,
            names,
            ClockKeeper(paths.agent_socket),
            keeper,
            *_share_companions(plan, paths, shares, engine),
        ],
        before_running=keeper.prepare,
        before_stopping=engine.leave,
        trial_shares=trial_shares,
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
