# SPDX-License-Identifier: Apache-2.0
"""Registries, as this host's administrator and user have set them up, docker's settings included."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cove.errors import OfflineError, UsageError
from cove.events import Report
from cove.host.authorities import added_authorities, registry_certificates
from cove.host.docker_config import user_folder
from cove.machine.config import Config, load_config
from cove.machine.contents import content_store
from cove.machine.settings import SYSTEM_CERTS
from cove.system.paths import Home
from cove.system.process import run

if TYPE_CHECKING:
    from cove.image.registry.endpoints import Trust
    from cove.image.registry.pull import Puller

_HELPER_DEADLINE = 60.0
"""Seconds; a credential helper may have to ask the user for the key of a keychain."""


def puller(home: Home, report: Report, *, mirrors: Sequence[str] = (), offline: bool = False) -> Puller:
    """What fills the store from registries, with the user's settings and the logins of docker.

    Args:
        home: where the store and the settings lie.
        report: told of progress.
        mirrors: further mirrors, each ``URL`` or ``REGISTRY=URL``.
        offline: whether fetching is forbidden.

    Raises:
        OfflineError: it is.
        UsageError: a mirror or the user's settings are wrong.
    """
    if offline:
        raise OfflineError(
            "images cannot be pulled offline", hint="Leave out --offline, or cove cache import."
        )
    from cove.image.registry.endpoints import read_settings
    from cove.image.registry.pull import Puller

    user = load_config(home.config)
    settings = read_settings(user.values).with_mirrors(mirrors)
    return Puller(
        store=content_store(home),
        settings=settings,
        config=lambda: docker_settings(home, os.environ),
        helper=_run_helper,
        report=report,
        trust=trust_for(home, user, os.environ),
    )


def trust_for(home: Home, config: Config, env: Mapping[str, str]) -> Callable[[str], Trust]:
    """Whom a registry's host is believed by: the same that the engine of a machine is told of.

    ``certs.d/HOST`` beside docker's configuration and in ``/etc/docker`` (authorities ``*.crt``, our own certificates
    ``*.cert`` with ``*.key``), ``ca_certificates:`` in config.yml, and where administrators put authorities.

    Args:
        home: whose user's docker configuration counts.
        config: the user's settings.
        env: the environment.
    """
    from cove.image.registry.endpoints import Trust

    user = user_folder(env, home.docker_config)
    folders = [*([user / "certs.d"] if user else []), SYSTEM_CERTS]

    def trust(host: str) -> Trust:
        found = registry_certificates(folders)
        own = [data for name, data in found.items() if name.startswith(f"{host}/") and name.endswith(".crt")]
        data = b"\n".join([added_authorities(env, config.ca_certificates), *own])
        pairs = (
            (path, path.with_suffix(".key"))
            for folder in folders
            for path in sorted(folder.glob(f"{host}/*.cert"))
        )
        client = next((pair for pair in pairs if pair[1].is_file()), None)
        return Trust(authorities=data.decode("latin-1").strip(), client=client)

    return trust


def docker_settings(home: Home, env: Mapping[str, str]) -> Mapping[str, Any]:
    """The user's own ``config.json`` of docker; nothing if there is none.

    Raises:
        UsageError: it is not JSON.
    """
    folder = user_folder(env, home.docker_config)
    if folder is None:
        return {}
    path = folder / "config.json"
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read", details=str(error)) from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} is damaged: it is not a JSON object")
    return data


def _run_helper(program: str, key: bytes) -> bytes:
    return run([program, "get"], doing="asking for credentials", deadline=_HELPER_DEADLINE, stdin=key).stdout
