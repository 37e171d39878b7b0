# SPDX-License-Identifier: Apache-2.0
"""The content store of an installation, and the registries that it is filled from."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cove.errors import OfflineError, UsageError
from cove.events import Report
from cove.host.docker_config import user_folder
from cove.image.oci.layout import Layout
from cove.image.oci.model import Platform, docker_architecture
from cove.image.oci.reference import Reference, parse_reference
from cove.image.oci.store import ContentStore
from cove.image.oci.transfer import import_docker_archive, import_layout, is_layout, unpacked
from cove.machine.config import load_config
from cove.system.paths import Home
from cove.system.process import run

if TYPE_CHECKING:
    from cove.image.registry.pull import Puller

_HELPER_DEADLINE = 60.0
"""Seconds; a credential helper may have to ask the user for the key of a keychain."""


def content_store(home: Home) -> ContentStore:
    """The content store; nothing is made before something is added."""
    return ContentStore(home.content)


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

    settings = read_settings(load_config(home.config).values).with_mirrors(mirrors)
    return Puller(
        store=content_store(home),
        settings=settings,
        config=lambda: docker_settings(home, os.environ),
        helper=_run_helper,
        report=report,
    )


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


def import_images(store: ContentStore, source: Path | BinaryIO, names: Sequence[str]) -> list[Reference]:
    """Take images into the store from an OCI layout or an archive of ``docker save``.

    Args:
        store: where to.
        source: a folder, a tar (compressed or not), or a stream of one.
        names: names for its only image; without them those that it brings.

    Raises:
        NotFoundError: there is nothing of that name.
        UsageError, ArchiveError, IntegrityError, StorageError: see :func:`cove.image.oci.transfer.import_layout`.
    """
    references = [_tagged(name) for name in names]
    with ExitStack() as stack:
        path = stack.enter_context(unpacked(source, store.root))
        if is_layout(path):
            return import_layout(store, Layout(path), references)
        return import_docker_archive(store, path, references)


def host_platform() -> Platform:
    """The platform of images for guests of this host."""
    return Platform(architecture=docker_architecture(platform.machine()))


def _tagged(name: str) -> Reference:
    reference = parse_reference(name)
    if reference.digest:
        raise UsageError(f"{name!r} names a digest, which only contents can have")
    return reference if reference.tag else parse_reference(f"{reference}:latest")


def _run_helper(program: str, key: bytes) -> bytes:
    return run([program, "get"], doing="asking for credentials", deadline=_HELPER_DEADLINE, stdin=key).stdout
