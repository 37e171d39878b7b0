# SPDX-License-Identifier: Apache-2.0
"""The user's settings: ``COVE_HOME/config.yml``, optional.

debian_mirror: https://...          Debian's archive, or a mapping with ``main`` and ``security``
registry_mirrors: [https://...]     of Docker Hub, or a mapping from registries to such lists
insecure_registries: [HOST:PORT]    plain http, or https with a certificate that nobody checks
resolv_conf: /path                  the file that says where names are asked for, instead of /etc/resolv.conf
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cove.errors import UsageError
from cove.host.names.resolver import RESOLV_CONF


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings, checked.

    Args:
        values: all as they were written.
        resolv_conf: where this host asks for names.
    """

    values: Mapping[str, object] = field(default_factory=dict)
    resolv_conf: Path = RESOLV_CONF


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
    return Config(values=data, resolv_conf=Path(data.get("resolv_conf", RESOLV_CONF)))


def _anything(_value: object) -> str | None:
    """What is checked where it is used."""
    return None


def _absolute_path(value: object) -> str | None:
    return None if isinstance(value, str) and value.startswith("/") else "it is not an absolute path"


KEYS: Mapping[str, Callable[[object], str | None]] = {
    "debian_mirror": _anything,
    "insecure_registries": _anything,
    "registry_mirrors": _anything,
    "resolv_conf": _absolute_path,
}
"""All settings there are, each with what tells what is wrong with its value."""
