# SPDX-License-Identifier: Apache-2.0
"""What dockerd is told beyond what its image says: keys of daemon.json. Pure.

The keys are those of dockerd's reference (``dockerd --config-file``). What Cove needs for itself cannot be set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from cove.errors import UsageError
from cove.host.proxies import Proxies, reachable
from cove.spec.registries import Registries

RESERVED = frozenset({
    "authorization-plugins", "bridge", "containerd", "containerd-namespace", "containerd-plugins-namespace",
    "data-root", "exec-root", "group", "hosts", "iptables", "live-restore", "pidfile", "storage-driver", "tls",
    "tlscacert", "tlscert", "tlskey", "tlsverify", "userland-proxy-path",
})  # fmt: skip
"""Keys with which the engine would no longer be where Cove looks for it, or no longer closed as Cove promises."""


def check_keys(value: object) -> str | None:
    """What is wrong with keys that a user gave; None if nothing is. What dockerd does not know it says itself."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return "it is not a mapping of keys of dockerd's daemon.json"
    taken = sorted(RESERVED & set(value))
    if taken:
        return f"Cove needs {', '.join(taken)} for itself"
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        return f"it cannot be written as JSON: {error}"
    return None


def daemon_keys(user: Mapping[str, object], registries: Registries, proxies: Proxies) -> dict[str, object]:
    """All keys together.

    Args:
        user: those that the user gave; :func:`check_keys` found nothing wrong.
        registries: beside those that the user's keys name.
        proxies: as the guest reaches them; the user's own ``proxies`` count instead of them.

    Raises:
        UsageError: a list of registries among the user's keys is none.
    """
    keys = dict(user)
    for key, more in (
        ("insecure-registries", registries.insecure),
        ("registry-mirrors", tuple(map(reachable, registries.mirrors))),
    ):
        present = keys.get(key, [])
        if not isinstance(present, list):
            raise UsageError(f"{key} is not a list", hint="Write it as [HOST:PORT, ...] in config.yml.")
        # empty as well: a list that is absent leaves a running dockerd with the one that it has
        keys[key] = list(dict.fromkeys((*present, *more)))
    if proxies and "proxies" not in keys:
        pairs = (("http-proxy", proxies.http), ("https-proxy", proxies.https), ("no-proxy", proxies.no))
        keys["proxies"] = {key: value for key, value in pairs if value}
    return keys
