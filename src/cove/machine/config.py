# SPDX-License-Identifier: Apache-2.0
"""The user's settings: ``COVE_HOME/config.yml``, optional.

debian_mirror: https://...          Debian's archive, or a mapping with ``main`` and ``security``
registry_mirrors: [https://...]     of Docker Hub, or a mapping from registries to such lists
insecure_registries: [HOST:PORT]    plain http, or https with a certificate that nobody checks
docker: {KEY: VALUE}                keys of dockerd's daemon.json, for every machine
proxies: {http-proxy: URL, https-proxy: URL, no-proxy: LIST}, or false     instead of those of the environment;
                                    ``containers: false`` beside them keeps them from containers
ca_certificates: [/path]            authorities that the engine trusts beside Mozilla's and this host's own
resolv_conf: /path                  the file that says where names are asked for, instead of /etc/resolv.conf
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cove.errors import UsageError
from cove.host.daemon_json import check_keys
from cove.host.names.files import RESOLV_CONF
from cove.host.proxies import Proxies


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings, checked.

    Args:
        values: all as they were written.
        resolv_conf: where this host asks for names.
        docker: keys of dockerd's daemon.json.
        proxies: None are those of the environment.
        container_proxies: whether containers get them, too.
        ca_certificates: files with authorities.
    """

    values: Mapping[str, object] = field(default_factory=dict)
    resolv_conf: Path = RESOLV_CONF
    docker: Mapping[str, object] = field(default_factory=dict)
    proxies: Proxies | None = None
    container_proxies: bool = True
    ca_certificates: tuple[Path, ...] = ()


def load_config(path: Path) -> Config:
    """Read the settings; the defaults if the file is absent.

    Raises:
        UsageError: it is not YAML, or has keys or values that do not exist; all are named.
    """
    try:
        text = path.read_bytes()  # yaml knows encodings, and refuses what is none
    except FileNotFoundError:
        return Config()
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML", details=str(error)) from error
    if data is None:
        return Config()
    if not isinstance(data, dict):
        raise UsageError(f"{path} is not a list of settings", hint="Write it as KEY: VALUE, one a line.")
    problems = [f"unknown setting {key!r}" for key in data if key not in KEYS]
    problems += [
        f"{key}: {problem}" for key, check in KEYS.items() if key in data and (problem := check(data[key]))
    ]
    if problems:
        raise UsageError(
            f"{path} has settings that are wrong",
            details="\n".join(problems),
            hint=f"Known: {', '.join(sorted(KEYS))}.",
        )
    proxies, for_containers = _read_proxies(data.get("proxies"))
    return Config(
        values=data,
        resolv_conf=Path(data.get("resolv_conf", RESOLV_CONF)),
        docker=data.get("docker", {}),
        proxies=proxies,
        container_proxies=for_containers,
        ca_certificates=tuple(map(Path, data.get("ca_certificates", []))),
    )


_PROXIES = ("http-proxy", "https-proxy", "no-proxy")
"""As in dockerd's daemon.json; a bare ``no`` would be YAML's word for false."""


def _anything(_value: object) -> str | None:
    """What is checked where it is used."""
    return None


def _absolute_path(value: object) -> str | None:
    return None if isinstance(value, str) and value.startswith("/") else "it is not an absolute path"


def _proxies(value: object) -> str | None:
    if value is False:
        return None
    if not isinstance(value, dict) or not set(value) <= {*_PROXIES, "containers"}:
        return f"it is neither false nor a mapping with {', '.join(_PROXIES)} and containers"
    if not isinstance(value.get("containers", True), bool):
        return "containers is neither true nor false"
    texts = all(isinstance(one, str) for key, one in value.items() if key != "containers")
    return None if texts else "its values are not all texts"


def _read_proxies(value: object) -> tuple[Proxies | None, bool]:
    if not isinstance(value, dict):
        return (Proxies() if value is False else None), True
    named = [value.get(key, "") for key in _PROXIES]
    return (Proxies(*named) if any(key in value for key in _PROXIES) else None), value.get("containers", True)


def _paths(value: object) -> str | None:
    if not isinstance(value, list) or any(_absolute_path(one) for one in value):
        return "it is not a list of absolute paths"
    return None


KEYS: Mapping[str, Callable[[object], str | None]] = {
    "ca_certificates": _paths,
    "debian_mirror": _anything,
    "docker": check_keys,
    "insecure_registries": _anything,
    "proxies": _proxies,
    "registry_mirrors": _anything,
    "resolv_conf": _absolute_path,
}
"""All settings there are, each with what tells what is wrong with its value."""
