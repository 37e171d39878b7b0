# SPDX-License-Identifier: Apache-2.0
"""The lines of ``cove env``: what Docker's clients read, as variables for the user's shell. Pure.

``DOCKER_HOST`` alone is read by docker, compose, buildx, docker-py and aiodocker. Testcontainers starts a
container of its own (ryuk) that mounts the engine's socket by the path it has on the host; that path means
nothing in the guest, so ``TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE`` names the guest's own. On a host that is a
container itself (CI) it would look for published ports at the engine's bridge: ``TESTCONTAINERS_HOST_OVERRIDE``,
and for Python ``TESTCONTAINERS_CONNECTION_MODE``, say that they are on the host's loopback, always.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Literal

Shell = Literal["posix", "fish"]

SOCKET_IN_GUEST = "/var/run/docker.sock"
"""The engine's socket inside the guest: what a container mounts to use the engine."""


def client_environment(socket: PurePath) -> dict[str, str]:
    """What Docker's clients need in their environment to use the engine behind ``socket``."""
    return {
        "DOCKER_HOST": f"unix://{socket}",
        "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE": SOCKET_IN_GUEST,
        "TESTCONTAINERS_HOST_OVERRIDE": "localhost",
        "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
    }


def shell_of(program: str | None) -> Shell:
    """The dialect of a shell, by its program (``$SHELL``); bash, zsh, dash and unknown ones are ``posix``."""
    return "fish" if program and PurePath(program).name == "fish" else "posix"


def render(values: Mapping[str, str], *, shell: Shell, command: str, unset: bool = False) -> str:
    """Lines that set or unset variables, then a comment that says how to use them.

    Args:
        values: the variables.
        shell: the dialect.
        command: what the user typed to get these lines, for the comment: ``cove env dev``.
        unset: remove the variables instead.
    """
    lines = [_line(name, value, shell=shell, unset=unset) for name, value in values.items()]
    usage = f"{command} | source" if shell == "fish" else f'eval "$({command})"'
    return "\n".join([*lines, f"# Run this to configure your shell: {usage}"]) + "\n"


def _line(name: str, value: str, *, shell: Shell, unset: bool) -> str:
    if shell == "fish":
        return f"set -e {name};" if unset else f"set -gx {name} {_fish_quote(value)};"
    return f"unset {name}" if unset else f"export {name}={shlex.quote(value)}"


def _fish_quote(value: str) -> str:
    # in fish's single quotes only the backslash and the quote are special
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
