# SPDX-License-Identifier: Apache-2.0
"""Gives containers the host's proxies as they are created, by whatever client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cove.host.container_proxies import amended_creation, of_the_loopback
from cove.host.docker_config import user_folder
from cove.host.proxies import Proxies, for_guest
from cove.machine.config import Config
from cove.machine.settings import proxies_of
from cove.system.paths import Home


def proxies_for_containers(config: Config, env: Mapping[str, str]) -> Proxies:
    """The proxies that containers get, as they reach them; none if the user does not want that."""
    return for_guest(proxies_of(config, env)) if config.container_proxies else Proxies()


def amender(home: Home, config: Config, env: Mapping[str, str]) -> Callable[[bytes], bytes]:
    """What the engine's front asks for the body of each request that creates a container.

    The user's docker configuration is read each time: it may have changed.

    Args:
        home: whose user's docker configuration counts.
        config: the user's settings.
        env: the environment in which the machine was started.
    """
    proxies = proxies_for_containers(config, env)
    folder = user_folder(env, home.docker_config)

    def amend(body: bytes) -> bytes:
        return amended_creation(body, proxies, of_the_loopback(_text(folder)))

    return amend


def _text(folder: Path | None) -> str:
    try:
        return (folder / "config.json").read_text() if folder else ""
    except (OSError, UnicodeDecodeError):
        return ""
