# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable

import click

from cove.units import parse_size

NAME = click.argument("name", required=False)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    return parse_size(text, default_unit="g") if text else None


_SETTINGS = (
    click.option(
        "-c",
        "--cpus",
        type=int,
        metavar="N",
        help="Virtual CPUs; a new machine has 1 under uml, else up to 4.",
    ),
    click.option(
        "--memory",
        callback=_size,
        metavar="SIZE",
        help="Memory: 2G, 1536M; a bare number is GiB. A new machine has 2G.",
    ),
    click.option(
        "-d",
        "--disk",
        callback=_size,
        metavar="SIZE",
        help="Data disk, sparse: 64G, which a new machine has; a bare number is GiB. It only grows.",
    ),
    click.option(
        "--mount",
        "mounts",
        multiple=True,
        metavar="PATH[:ro]",
        help="Share this folder too, beside your home; repeatable.",
    ),
    click.option(
        "--mount-none", is_flag=True, help="Share nothing but what --mount names, not even your home."
    ),
    click.option(
        "--file-events/--no-file-events",
        default=None,
        help="Changes on this host wake file watchers in containers (the default).",
    ),
    click.option(
        "--binfmt/--no-binfmt",
        default=None,
        help="Containers of other architectures run too (docker run --platform), emulated.",
    ),
    click.option(
        "--idle-suspend",
        type=int,
        metavar="MINUTES",
        help="Suspend it when nothing happened for so long; the next client wakes it. 0: never, the default.",
    ),
    click.option(
        "--insecure-registry",
        "insecure_registries",
        multiple=True,
        metavar="HOST[:PORT]",
        help="The engine asks this registry by http, or by https unchecked; repeatable.",
    ),
    click.option(
        "--registry-mirror",
        "registry_mirrors",
        multiple=True,
        metavar="URL",
        help="The engine asks this mirror before Docker Hub; repeatable.",
    ),
)


def settings(command: Callable[..., None]) -> Callable[..., None]:
    """Options for what a machine has, named as the keys of :class:`cove.sdk.creation.Wishes`; unset ones are None.

    Memory and disk come in bytes.
    """
    for option in reversed(_SETTINGS):
        command = option(command)
    return command
