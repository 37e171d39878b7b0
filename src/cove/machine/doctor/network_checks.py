# SPDX-License-Identifier: Apache-2.0
"""What is wrong with names, proxies, the archive and docker's clients. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from cove.machine.doctor.facts import Clients, Examined, Names, Proxy
from cove.machine.doctor.finding import Finding, problem, warning


def check_network(facts: Examined) -> Iterator[Finding]:
    """All findings about what lies between this host and others."""
    yield from _names(facts.names)
    for proxy in facts.proxies:
        yield from _proxy(proxy)
    if facts.archive_trouble:
        yield problem(
            "archive-unreachable",
            what="Debian's archive cannot be reached",
            why=facts.archive_trouble,
            fix="export COVE_DEBIAN_MIRROR=https://HOST/debian, or https_proxy=http://HOST:PORT; "
            "what is in the cache goes on to work: cove --offline start",
        )


def check_clients(facts: Examined) -> Iterator[Finding]:
    """All findings about docker's own clients."""
    clients = facts.clients
    if clients.docker_host and not clients.docker_host_answers:
        yield problem(
            "docker-host-stale",
            subject=clients.docker_host,
            what="DOCKER_HOST leads to a machine that does not run",
            why="All of docker's clients in this shell fail; it counts before any context.",
            fix="unset DOCKER_HOST",
        )
    for name, current in clients.stale_contexts.items():
        make = problem if current else warning
        yield make(
            "context-stale",
            subject=name,
            what=f"the docker context {name} leads to a machine that is gone",
            why="It is the one in use: docker's clients fail." if current else "It leads nowhere.",
            fix=f"docker context rm --force {shlex.quote(name)}",
        )
    if clients.context_missing and clients.context_missing not in clients.stale_contexts:
        yield problem(
            "context-missing",
            subject=clients.context_missing,
            what=f"docker is set to the context {clients.context_missing}, which does not exist",
            why="docker's clients fail; another program's machine that was removed leaves this behind.",
            fix="unset DOCKER_CONTEXT" if clients.context_variable else "docker context use default",
        )
    if clients.system_socket and not clients.system_socket_answers:
        yield warning(
            "system-socket-stale",
            subject=clients.system_socket,
            what="/var/run/docker.sock leads to a machine that does not run",
            why="Programs that know no other place of an engine fail, and say that docker is not running.",
            fix="cove list, and start that machine; or do without: cove socket unlink | sh",
        )
    yield from _docker_config(clients, mac=facts.host.system == "darwin")


def _docker_config(clients: Clients, *, mac: bool) -> Iterator[Finding]:
    if clients.config_trouble:
        yield problem(
            "docker-config-damaged",
            subject=clients.config,
            what="docker's config.json cannot be read",
            why=clients.config_trouble,
            fix=f"mv {shlex.quote(clients.config)} {shlex.quote(clients.config + '.damaged')}, "
            "then docker login again",
        )
    for helper in clients.helpers_missing:
        name = helper.removeprefix("docker-credential-")
        install = "brew install docker-credential-helper" if mac else f"install {helper}"
        yield problem(
            "credential-helper-missing",
            subject=helper,
            what=f"docker's config.json names {helper}, which is not on PATH",
            why='Pulls fail with "error getting credentials", also those that need no login; '
            "Docker Desktop leaves this behind.",
            fix=f"{install}, or remove {name!r} from credsStore and credHelpers in {clients.config}",
        )


def _names(names: Names) -> Iterator[Finding]:
    for path in names.missing:
        yield problem(
            "host-file-missing",
            subject=path,
            what=f"there is no {path}",
            why="gvproxy, the network of machines, does not start without it.",
            fix=f"sudo touch {path}",
        )
    if not names.servers:
        yield warning(
            "dns-none",
            subject=names.resolv_conf,
            what=f"{names.resolv_conf} names no name server",
            why="Containers find no names but this host's own.",
            fix=f"echo 'nameserver ADDRESS' | sudo tee -a {names.resolv_conf}",
        )
    for server in names.silent or ():
        others = [one for one in names.servers if one not in (names.silent or ())]
        make = warning if others else problem
        yield make(
            "dns-silent",
            subject=server,
            what=f"the name server {server} does not answer",
            why="Each new name takes a second longer."
            if others
            else "Containers find no names of the outside.",
            fix=f"take it out of {names.resolv_conf}, or connect to the network (VPN) that it belongs to",
        )


def _proxy(proxy: Proxy) -> Iterator[Finding]:
    if not proxy.address:
        yield problem(
            "proxy-malformed",
            subject=proxy.variable,
            what=f"{proxy.url!r} in {proxy.variable} is no URL of a proxy",
            why="Downloads, and the engine of every machine that is started here, are given it.",
            fix=f"export {proxy.variable}=http://HOST:PORT"
            if _from_environment(proxy)
            else f"{proxy.variable}: http://HOST:PORT in config.yml",
        )
    elif proxy.trouble:
        here = " on this host's loopback, where machines would reach it, too" if proxy.loopback else ""
        yield problem(
            "proxy-unreachable",
            subject=proxy.variable,
            what=f"nobody answers at the proxy {proxy.address}{here}: {proxy.trouble}",
            why="Downloads, and pulls of every machine that is started here, go through it and fail.",
            fix=f"start it, or: unset {proxy.variable} && cove restart"
            if _from_environment(proxy)
            else "start it, or take it out of config.yml and: cove restart",
        )


def _from_environment(proxy: Proxy) -> bool:
    return proxy.variable.lower().endswith("_proxy")
