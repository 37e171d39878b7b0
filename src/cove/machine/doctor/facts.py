# SPDX-License-Identifier: Apache-2.0
"""What the doctor looks at, as data. Pure: :mod:`cove.machine.doctor.gather` fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cove.spec.abilities import Abilities, Guards
from cove.spec.facts import HostFacts
from cove.spec.machine import MachineSpec


@dataclass(frozen=True, kw_only=True)
class ToolTrouble:
    """A group of the host's own programs that is not complete.

    Args:
        group: the group.
        problems: what is wrong with which program.
        fix: how to install it.
    """

    group: str
    problems: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder of ours.

    Args:
        role: the variable that names it.
        path: where it is.
        abilities: what its file system can do.
    """

    role: Literal["COVE_HOME", "COVE_CACHE"]
    path: str
    abilities: Abilities


@dataclass(frozen=True, kw_only=True)
class Names:
    """How this host finds names.

    Args:
        missing: files without which gvproxy does not start, and that are not there.
        resolv_conf: the file that says which servers there are.
        servers: those that it names.
        silent: those of them that did not answer; None if they were not asked.
    """

    missing: tuple[str, ...] = ()
    resolv_conf: str = "/etc/resolv.conf"
    servers: tuple[str, ...] = ()
    silent: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy of the environment or the configuration.

    Args:
        variable: who names it.
        url: without a password.
        address: host and port; "" if it is no URL.
        loopback: whether it is on this host.
        trouble: why nobody answers there; "" if somebody does, None if that was not tried.
    """

    variable: str
    url: str
    address: str
    loopback: bool
    trouble: str | None = None


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What docker's clients of this user are set to.

    Args:
        docker_host: DOCKER_HOST if it leads to a machine's socket, else "".
        docker_host_answers: whether somebody listens there.
        stale_contexts: contexts of ours whose machine is gone, and whether each is the one in use.
        context_missing: the context in use, if there is none of that name.
        context_variable: whether it is DOCKER_CONTEXT that says so, and not config.json.
        system_socket: where /var/run/docker.sock leads if that is a machine's socket, else "".
        system_socket_answers: whether somebody listens there.
        config: docker's config.json.
        config_trouble: why it cannot be read; "" if it can.
        helpers_missing: credential helpers that it names and that are not on PATH.
    """

    docker_host: str = ""
    docker_host_answers: bool = False
    stale_contexts: Mapping[str, bool] = field(default_factory=dict)
    context_missing: str = ""
    context_variable: bool = False
    system_socket: str = ""
    system_socket_answers: bool = False
    config: str = ""
    config_trouble: str = ""
    helpers_missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Alive:
    """What a running machine says; only of one that runs.

    Args:
        supervisor: why its supervisor does not answer; "" if it does.
        agent: why its agent does not answer.
        engine: why its engine does not answer.
        clock: seconds that its clock is ahead of the host's, or None.
        disk_used: part of its data disk that is in use, from 0 to 1, or None.
    """

    supervisor: str = ""
    agent: str = ""
    engine: str = ""
    clock: float | None = None
    disk_used: float | None = None


@dataclass(frozen=True, kw_only=True)
class MachineState:
    """One machine's folder and what belongs to it.

    Args:
        name: its name.
        folder: where it is.
        spec: what it shall be; None if that cannot be read.
        damage: why it cannot be read.
        remnant: there is no machine.json: what is left in the folder.
        state: where it is in its life.
        reason: why it is there.
        leftovers: processes of a dead run that still live, as ``gvproxy 4711``.
        started: whether it has been started before.
        has_disk: whether its data disk is there.
        shares_missing: shared folders that are none (any more).
        ports: what containers have published, as :mod:`cove.host.port_table` describes it.
        alive: what it says, if it runs.
        log: the log to look at.
    """

    name: str
    folder: str
    spec: MachineSpec | None = None
    damage: str = ""
    remnant: tuple[str, ...] = ()
    state: str = "created"
    reason: str = ""
    leftovers: tuple[str, ...] = ()
    started: bool = False
    has_disk: bool = False
    shares_missing: tuple[str, ...] = ()
    ports: tuple[Mapping[str, Any], ...] = ()
    alive: Alive | None = None
    log: str = ""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """Everything.

    Args:
        host: what can run here.
        guards: what holds child processes.
        now: the host's clock, in seconds since the epoch.
        tools: groups of the host's own programs that are not complete.
        places: COVE_HOME, and COVE_CACHE if it lies elsewhere.
        socket_too_long: the longest path of a socket, if it is too long for a machine.
        config_trouble: why config.yml cannot be read; "" if it can.
        names: how names are found.
        proxies: those that are set.
        archive_trouble: why Debian's archive cannot be reached; "" if it can, None if that was not tried.
        clients: docker's clients.
        machines: all of them, and what is left of others.
        autostart_stale: machines that start at logins and are gone, with the file of each.
    """

    host: HostFacts
    guards: Guards
    now: float
    tools: tuple[ToolTrouble, ...] = ()
    places: tuple[Place, ...] = ()
    socket_too_long: str = ""
    config_trouble: str = ""
    names: Names = field(default_factory=Names)
    proxies: tuple[Proxy, ...] = ()
    archive_trouble: str | None = None
    clients: Clients = field(default_factory=Clients)
    machines: tuple[MachineState, ...] = ()
    autostart_stale: Mapping[str, str] = field(default_factory=dict)
