# SPDX-License-Identifier: Apache-2.0
"""The user's settings: ``COVE_HOME/config.yml``, optional.

debian_mirror: https://...          Debian's archive, or a mapping with ``main`` and ``security``
registry_mirrors: [https://...]     of Docker Hub, or a mapping from registries to such lists
insecure_registries: [HOST:PORT]    plain http, or https with a certificate that nobody checks
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cove.errors import UsageError

KEYS = frozenset({"debian_mirror", "insecure_registries", "registry_mirrors"})
"""All settings there are."""


def load_config(path: Path) -> Mapping[str, object]:
    """Read the settings; none if the file is absent.

    Raises:
        UsageError: it is not YAML, or has keys or values that do not exist; all are named.
    """
    try:
        text = path.read_bytes()  # yaml knows encodings, and refuses what is none
    except FileNotFoundError:
        return {}
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML", details=str(error)) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"{path} is not a list of settings", hint="Write it as KEY: VALUE, one a line.")
    problems = [f"unknown setting {key!r}" for key in data if key not in KEYS]
    if problems:
        raise UsageError(
            f"{path} has settings that are wrong",
            details="\n".join(problems),
            hint=f"Known: {', '.join(sorted(KEYS))}.",
        )
    return data
