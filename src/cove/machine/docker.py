# SPDX-License-Identifier: Apache-2.0
"""Run docker's own CLI against a machine. On the path of every ``cove run``: imports little."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cove.host import docker_args, docker_config
from cove.host.image_look import has_images
from cove.machine.assets import Workshop
from cove.machine.store import Machine
from cove.system.paths import MachinePaths
from cove.system.process import Command


def docker_command(machine: Machine, args: Sequence[str], workshop: Workshop) -> Command | None:
    """Docker's CLI, ready to be started, against a running machine.

    Built-in images (``cove.internal/...``) that the arguments lead to are loaded into the engine first.

    Args:
        machine: it runs.
        args: docker's arguments.
        workshop: where the CLI comes from.

    Returns:
        the command, or None when there is nothing left to do (a built-in image was "pulled").

    Raises:
        UsageError: there is no built-in image of that name.
        CoveError: the CLI or an image could not be had.
    """
    images = docker_args.builtin_images(args, read=_read, env=os.environ)
    if images:
        platform = docker_args.platform(args, env=os.environ)
        if platform is not None or not has_images(machine.paths.docker_socket, images):
            from cove.machine.builtins import ensure_builtins

            ensure_builtins(machine, images, workshop, platform)
        if docker_args.parse(args).pulls_builtin:
            return None
    return docker_cli(machine.paths, args, workshop)


def docker_cli(paths: MachinePaths, args: Sequence[str], workshop: Workshop) -> Command:
    """Docker's CLI, ready to be started, with the user's configuration and the machine's socket.

    Args:
        paths: the machine's files; it need not run, nor exist.
        args: docker's arguments.
        workshop: where the CLI comes from.

    Raises:
        CoveError: the CLI could not be had.
    """
    toolbox = workshop.toolbox("docker")
    home = workshop.home
    docker_config.refresh(
        home.docker_config,
        user=docker_config.user_folder(os.environ, home.docker_config),
        plugins=toolbox.plugins,
    )
    docker = toolbox.command("docker")
    folder = _build_folder(workshop) if docker_args.parse(args).builds else home.docker_config
    env = docker_config.environment(paths.docker_socket, folder)
    return Command((*docker.argv, *args), {**docker.env, **env})


def _build_folder(workshop: Workshop) -> Path:
    """The configuration for a build, which gets the proxies that docker's CLI finds there, and no others."""
    from cove.host.container_proxies import amended_config
    from cove.machine.container_proxies import proxies_for_containers

    home = workshop.home
    user = _read(str(home.docker_config / "config.json"))
    config = amended_config(user, proxies_for_containers(workshop.config, os.environ))
    if config is None:
        return home.docker_config
    docker_config.refresh(home.docker_build_config, user=home.docker_config, plugins={}, config=config)
    return home.docker_build_config


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):  # not there, or not what it would have to be: docker will say so
        return None
