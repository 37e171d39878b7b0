# SPDX-License-Identifier: Apache-2.0
"""A docker engine as a place to take images from (`cove build --docker`)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cove.errors import EngineError, NotFoundError, UnsupportedError
from cove.events import Report, stage
from cove.host.engine import Engine
from cove.host.system_socket import SYSTEM_SOCKET
from cove.image.oci.model import ImageSource, Platform, Root
from cove.image.oci.reference import Reference
from cove.image.oci.store import ContentStore
from cove.machine.contents import import_images
from cove.system.files import storage_errors

_UNIX = "unix://"


def engine_socket(env: Mapping[str, str], own: Path) -> Path:
    """The socket of the engine that is meant: ``DOCKER_HOST``, a machine of ours that runs, the host's own.

    Args:
        env: the environment.
        own: the socket of the default machine.

    Raises:
        UnsupportedError: ``DOCKER_HOST`` is no unix socket.
        NotFoundError: there is no engine.
    """
    host = env.get("DOCKER_HOST", "")
    if host and not host.startswith(_UNIX):
        raise UnsupportedError(
            f"images cannot be taken from the engine at DOCKER_HOST={host}: only from a unix socket"
        )
    if host:
        return Path(host.removeprefix(_UNIX))
    found = next((path for path in (own, SYSTEM_SOCKET) if path.exists()), None)
    if found is None:
        raise NotFoundError(
            "there is no docker engine to take images from",
            details=f"neither {own} nor {SYSTEM_SOCKET}",
            hint="Start a machine with 'cove start', or name an engine with DOCKER_HOST.",
        )
    return found


class EngineImages:
    """The images of one engine; each is copied into a store when it is first asked for.

    Args:
        engine: which.
        folder: for that store, there as long as the images are read.
        report: told of each copy.
    """

    def __init__(self, engine: Engine, folder: Path, report: Report) -> None:
        self._engine, self._report = engine, report
        self._store = ContentStore(folder)

    def find(self, reference: Reference, platforms: Sequence[Platform]) -> Root | None:
        """The engine's image of that name, if it is for these platforms.

        Raises:
            EngineError: the engine does not answer.
            StorageError: the disk is full.
        """
        if not self._has(reference, platforms):
            return None
        known = self._store.find(reference, platforms)
        if known is not None:
            return known
        with (
            stage(self._report, f"save-{reference}", f"Taking {reference} from the docker engine"),
            storage_errors(f"copying {reference}"),
            tempfile.TemporaryFile(dir=self._store.root) as archive,
        ):
            self._engine.save(str(reference), archive)
            archive.seek(0)
            tagged = str(reference) if reference.tag else f"{reference}:latest"
            import_images(self._store, archive, [tagged])
        return self._store.find(reference, platforms)

    def _has(self, reference: Reference, platforms: Sequence[Platform]) -> bool:
        """An engine has an image for one platform."""
        try:
            about = self._engine.get(f"/images/{reference}/json")
        except EngineError as error:
            if error.details == "HTTP status 404":
                return False
            raise
        return all(
            (about.get("Os"), about.get("Architecture")) == (one.os, one.architecture) for one in platforms
        )


def engine_images(env: Mapping[str, str], own: Path, folder: Path, report: Report) -> ImageSource:
    """The engine that :func:`engine_socket` finds, as a place to take images from."""
    return EngineImages(Engine(engine_socket(env, own), deadline=300.0), folder, report)
