# SPDX-License-Identifier: Apache-2.0
"""Gather what the doctor looks at. Asks nothing of the network unless it may; changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cove.errors import CoveError, ToolError, UsageError
from cove.host import docker_config, system_socket
from cove.host.context_store import ContextStore
from cove.host.names.files import HOSTS, RESOLV_CONF, read_resolv_conf
from cove.host.proxies import Proxies, address_of, is_loopback, without_secret
from cove.machine.autostart import started_at_logins
from cove.machine.config import Config, load_config
from cove.machine.contexts import context_store, is_stale
from cove.machine.doctor import network
from cove.machine.doctor.facts import Clients, Examined, Names, Place, Proxy, ToolTrouble
from cove.machine.doctor.gather_machines import machine_states
from cove.machine.store import Store
from cove.spec.choice import choose_driver
from cove.spec.facts import HostFacts
from cove.spec.machine import Driver, MachineRequest
from cove.system.folders import examine
from cove.system.guards import guards
from cove.system.paths import SOCKET_PATH_LIMIT, Home, MachinePaths
from cove.system.probe import host_facts, last_verdict
from cove.toolbox.groups import group_of
from cove.toolbox.system import find

_GROUPS: Mapping[Driver, tuple[str, ...]] = {"vz": (), "qemu": ("qemu",), "uml": ("uml",)}
_DEFAULT = "default"


def gather(store: Store, env: Mapping[str, str], *, ask_network: bool = False) -> Examined:
    """Look at everything; a second or two.

    Args:
        store: the machines.
        env: the environment: proxies, HOME, PATH, DOCKER_HOST.
        ask_network: also ask name servers, proxies elsewhere and the archive.

    Raises:
        UnsupportedError: this host is neither Linux nor a Mac.
    """
    home = store.home
    host = host_facts(env, last_verdict(home.probes))
    config, config_trouble = _config(home)
    names = _names(config.resolv_conf)
    machines = machine_states(store)
    return Examined(
        host=host,
        guards=guards(),
        now=time.time(),
        tools=tuple(_tools(home, host, env)),
        places=tuple(_places(home)),
        socket_too_long=_too_long(home, [machine.name for machine in machines], mac=host.system == "darwin"),
        config_trouble=config_trouble,
        names=network.asked(names, _port(config.resolv_conf)) if ask_network else names,
        proxies=tuple(_proxies(config, env, ask_network=ask_network)),
        archive_trouble=network.archive_trouble(env, config.values) if ask_network else None,
        clients=_clients(home, env),
        machines=machines,
        autostart_stale=_autostart_stale(store, env),
    )


def _config(home: Home) -> tuple[Config, str]:
    try:
        return load_config(home.config), ""
    except UsageError as error:
        return Config(), error.details or error.message
    except OSError as error:
        return Config(), str(error)


def _tools(home: Home, host: HostFacts, env: Mapping[str, str]) -> Iterator[ToolTrouble]:
    """Programs of the host itself, which are only used on a Mac or where the user wants that."""
    if host.system != "darwin" and env.get("COVE_TOOLS") != "system":
        return
    groups = ["docker", "net", "image"]
    if host.system != "darwin":
        groups.append("share")
        with suppress(CoveError):  # that no driver can be chosen is a finding of its own
            groups += _GROUPS[choose_driver(MachineRequest(name="any"), host).driver]
    for name in groups:
        try:
            find(group_of(name), env=env, seen=home.tools / f"system-{name}.json")
        except ToolError as error:
            yield ToolTrouble(group=name, problems=error.details or error.message, fix=error.hint or "")


def _places(home: Home) -> Iterator[Place]:
    yield Place(role="COVE_HOME", path=str(home.root), abilities=examine(home.root))
    if not home.cache.is_relative_to(home.root):
        yield Place(role="COVE_CACHE", path=str(home.cache), abilities=examine(home.cache))


def _too_long(home: Home, names: list[str], *, mac: bool) -> str:
    paths = (MachinePaths(home.machines / name).longest_socket(mac=mac) for name in (_DEFAULT, *names))
    longest = max(paths, key=lambda path: len(bytes(path)))
    return str(longest) if len(bytes(longest)) > SOCKET_PATH_LIMIT else ""


def _names(resolv_conf: Path) -> Names:
    text = _read(resolv_conf)
    named = any(line.split()[:1] == ["nameserver"] for line in text.splitlines())
    return Names(
        missing=tuple(str(path) for path in (RESOLV_CONF, HOSTS) if not path.exists()),
        resolv_conf=str(resolv_conf),
        servers=read_resolv_conf(text).servers if named else (),
    )


def _port(resolv_conf: Path) -> int:
    return read_resolv_conf(_read(resolv_conf)).port


def _proxies(config: Config, env: Mapping[str, str], *, ask_network: bool) -> Iterator[Proxy]:
    for variable, url in _set_proxies(config.proxies, env):
        address = address_of(url)
        if address is None:
            yield Proxy(variable=variable, url=without_secret(url), address="", loopback=False)
            continue
        host, port = address
        own = is_loopback(host)
        yield Proxy(
            variable=variable,
            url=without_secret(url),
            address=f"{host}:{port}",
            loopback=own,
            trouble=network.connection_trouble(host, port) if own or ask_network else None,
        )


def _set_proxies(configured: Proxies | None, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if configured is not None:
        for key, url in (("http-proxy", configured.http), ("https-proxy", configured.https)):
            if url:
                yield f"proxies: {key}", url
        return
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        variable = name if env.get(name) else name.lower()
        if env.get(variable):
            yield variable, env[variable]


def _clients(home: Home, env: Mapping[str, str]) -> Clients:
    socket_path = _own_socket(home, env.get("DOCKER_HOST", ""))
    system = system_socket.look(system_socket.SYSTEM_SOCKET)
    found = Clients(
        docker_host=socket_path,
        docker_host_answers=bool(socket_path) and system_socket.listens(socket_path),
        system_socket=system.machine,
        system_socket_answers=system.answers,
    )
    folder = docker_config.user_folder(env, home.docker_config)
    return found if folder is None else _configured(found, folder, env, context_store(home, env))


def _configured(found: Clients, folder: Path, env: Mapping[str, str], contexts: ContextStore) -> Clients:
    try:
        current, trouble = contexts.current(), ""
    except CoveError as error:
        current, trouble = "", error.details or error.message
    wanted = "" if env.get("DOCKER_HOST") else env.get("DOCKER_CONTEXT") or current
    missing = wanted not in ("", "default") and contexts.find(wanted) is None
    return replace(
        found,
        context_missing=wanted if missing else "",
        context_variable=bool(env.get("DOCKER_CONTEXT")),
        stale_contexts={one.name: one.name == current for one in contexts.ours() if is_stale(one)},
        config=str(folder / "config.json"),
        config_trouble=trouble,
        helpers_missing=tuple(_helpers_missing(folder / "config.json", env)),
    )


def _own_socket(home: Home, docker_host: str) -> str:
    """The path in DOCKER_HOST if it is that of a machine, of this COVE_HOME or of another."""
    path = Path(docker_host.removeprefix("unix://"))
    if not docker_host.startswith("unix:///") or path.name != "docker.sock":
        return ""
    ours = path.is_relative_to(home.machines) or (path.parent / "machine.json").exists()
    return str(path) if ours else ""


def _helpers_missing(config: Path, env: Mapping[str, str]) -> Iterator[str]:
    from cove.system.files import read_json

    data = read_json(config)
    if not isinstance(data, dict):
        return
    own = data.get("credHelpers")
    named = [data.get("credsStore"), *(own.values() if isinstance(own, dict) else [])]
    for name in dict.fromkeys(one for one in named if isinstance(one, str) and one):
        program = f"docker-credential-{name}"
        if shutil.which(program, path=env.get("PATH", os.defpath)) is None:
            yield program


def _autostart_stale(store: Store, env: Mapping[str, str]) -> dict[str, str]:
    try:
        found = started_at_logins(store.home.root, env, platform=sys.platform)
    except (UsageError, OSError):
        return {}
    return {name: str(file) for name, file in found.items() if name not in store.names()}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
