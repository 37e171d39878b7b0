# SPDX-License-Identifier: Apache-2.0
"""Pull an image into the content store.

The root first (its digest against the name's, if that has one), then manifests and configurations, then layers,
several at once. Every blob is checked against the digest that led to it before it gets its name, so neither a
registry nor a mirror or proxy needs trust, once the name has a digest; without one the registry says which it is.
A layer that was cut off goes on where it ended, in the next attempt or in the next pull.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from cove.errors import ArchiveError, CoveError, IntegrityError, NetworkError, NotFoundError, ToolError
from cove.events import Note, Report, Transfer, silent
from cove.image.oci.graph import blob_name, walk
from cove.image.oci.model import INDEX_TYPES, MANIFEST_TYPES, Descriptor, Platform, Root
from cove.image.oci.reader import choose_manifest
from cove.image.oci.reference import Reference
from cove.image.oci.store import MANIFEST_LIMIT, ContentStore
from cove.image.registry.credentials import RunHelper, credentials_for
from cove.image.registry.endpoints import Endpoint, RegistrySettings, Trust
from cove.image.registry.layers import load_blob
from cove.image.registry.session import CutError, Session, UnreachableError
from cove.image.registry.transport import Patience
from cove.system.files import storage_errors

PARALLEL = 3
"""Layers at once, as docker has it."""

_ACCEPT = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}


@dataclass(kw_only=True)
class Puller:
    """Pulls images.

    Args:
        store: where they go.
        settings: mirrors and insecure registries.
        config: gives docker's configuration, where the credentials are; asked once, when needed.
        helper: runs a credential helper.
        report: told of progress.
        patience: how long and how often requests are tried.
        trust: whom to believe about a host.
    """

    store: ContentStore
    settings: RegistrySettings
    config: Callable[[], Mapping[str, Any]]
    helper: RunHelper
    report: Report = silent
    patience: Patience = field(default_factory=Patience)
    trust: Callable[[str], Trust] = lambda _host: Trust()

    def pull(self, reference: Reference, platforms: Sequence[Platform]) -> Root:
        """Pull an image and name it in the store.

        Args:
            reference: its name; ``:latest`` is meant where it has neither tag nor digest.
            platforms: for which; none means all of them.

        Raises:
            NotFoundError: the registry does not have it, or not for one of the platforms.
            NetworkError: no endpoint could deliver it; what was loaded is kept for the next attempt.
            IntegrityError: something is not what its digest says, from every endpoint that has it.
            ArchiveError, UnsupportedError: it is no image, or one of another age.
            StorageError: the disk is full or not writable.

        A failure leaves the name as it was.
        """
        reference = _tagged(reference)
        errors: list[CoveError] = []
        endpoints = self.settings.endpoints(reference.host)
        for endpoint in endpoints:
            try:
                return self._pull_from(endpoint, reference, platforms)
            except (NetworkError, NotFoundError, IntegrityError, ArchiveError) as error:
                errors.append(error)
                if endpoint is not endpoints[-1]:
                    self.report(Note(f"{error.message}; trying the next place"))
        # a wrong digest says more than what the last place had to say
        raise next((error for error in errors if isinstance(error, IntegrityError)), errors[-1])

    def _pull_from(self, endpoint: Endpoint, reference: Reference, platforms: Sequence[Platform]) -> Root:
        with self._session(endpoint, reference) as (session, descriptor, data):
            with self.store.using():
                self.store.add(descriptor, data)
                root = Root(reference=reference, descriptor=descriptor, blobs=self.store)
                self._load_all(session, root, platforms)
                self.store.name(reference, descriptor)
            return root

    @contextmanager
    def _session(
        self, endpoint: Endpoint, reference: Reference
    ) -> Iterator[tuple[Session, Descriptor, bytes]]:
        """A session that works, with the image's root."""
        registry = endpoint.host if endpoint.mirror_of else reference.host
        known = self._credentials(registry)
        for scheme in endpoint.schemes:
            last = scheme == endpoint.schemes[-1]
            patience = self.patience if last else Patience(connect=5, stall=self.patience.stall, attempts=1)
            session = Session(endpoint, scheme, reference.path, known, patience, self.trust(endpoint.host))
            try:
                descriptor, data = fetch_root(session, reference)
            except UnreachableError:
                session.close()
                if last:
                    raise
                continue
            except BaseException:
                session.close()
                raise
            try:
                yield session, descriptor, data
            finally:
                session.close()
            return

    def _credentials(self, registry: str) -> Any:
        try:
            return credentials_for(registry, self.config(), self.helper)
        except ToolError as error:
            # as left by a Docker Desktop that was uninstalled: most images can be had without
            self.report(Note(f"{error.message}: going on without credentials for {registry}"))
            return None

    def _load_all(self, session: Session, root: Root, platforms: Sequence[Platform]) -> None:
        """Have every blob of the image here."""
        large: dict[str, Descriptor] = {}
        # each is loaded before the walk goes on, so that it can look into it
        for one in walk(root, platforms, self.store.holds):
            blob_name(one.digest)
            if self.store.holds(one):
                continue
            if one.is_index or one.is_manifest:
                self.store.add(one, fetch_manifest(session, one))
            else:
                large[one.digest] = one
        for platform in platforms:
            choose_manifest(root, platform)  # before any layer is loaded for nothing
        self._load_blobs(session, root.reference, list(large.values()))

    def _load_blobs(self, session: Session, reference: Reference, blobs: Sequence[Descriptor]) -> None:
        if not blobs:
            return
        bar = _Bar(self.report, f"Pulling {reference}", sum(one.size for one in blobs))
        stop = threading.Event()
        sessions = threading.local()
        made: list[Session] = []

        def load(descriptor: Descriptor) -> None:
            if not hasattr(sessions, "own"):
                sessions.own = session.twin()
                made.append(sessions.own)
            load_blob(
                sessions.own, self.store, descriptor, progress=bar.add, stop=stop, patience=self.patience
            )

        try:
            with storage_errors("storing an image"), ThreadPoolExecutor(PARALLEL) as pool:
                jobs = [pool.submit(load, one) for one in blobs]
                try:
                    for job in jobs:
                        job.result()
                except BaseException:
                    stop.set()
                    for job in jobs:
                        job.cancel()
                    raise
        finally:
            for one in made:
                one.close()
        bar.end()


class RegistrySource:
    """Registries as a place to take images from: what is wanted is pulled into the store first.

    Args:
        puller: how.
    """

    def __init__(self, puller: Puller) -> None:
        self._puller = puller

    def find(self, reference: Reference, platforms: Sequence[Platform]) -> Root:
        """Pull the image; errors as in :meth:`Puller.pull`."""
        return self._puller.pull(reference, platforms)


def fetch_root(session: Session, reference: Reference) -> tuple[Descriptor, bytes]:
    """The index or manifest that a name leads to, checked.

    Raises:
        NotFoundError, NetworkError: it cannot be had.
        IntegrityError: it is not what the name's digest says.
        ArchiveError: it is no image.
    """
    data, said = _small(session, reference.digest or reference.tag)
    digest = reference.digest or f"sha256:{hashlib.sha256(data).hexdigest()}"
    _check(digest, data, f"{reference} is not what its digest says")
    try:
        kind = json.loads(data).get("mediaType")
    except (ValueError, AttributeError) as error:
        raise ArchiveError(f"{session.base} answered something that is no image") from error
    # an OCI manifest need not say what it is; then the registry does
    kind = str(kind or said)
    descriptor = Descriptor(media_type=kind, digest=digest, size=len(data))
    if not (descriptor.is_index or descriptor.is_manifest):
        raise ArchiveError(
            f"{reference} is no image that is known here",
            details=f"its media type is {kind!r}",
            hint="Images in the form of before Docker 1.10 are not supported: push it again."
            if "docker" in kind
            else None,
        )
    return descriptor, data


def fetch_manifest(session: Session, descriptor: Descriptor) -> bytes:
    """A manifest of an index, checked; errors as in :func:`fetch_root`."""
    if descriptor.size > MANIFEST_LIMIT:
        raise ArchiveError(f"{descriptor.digest} claims {descriptor.size} bytes: that is no manifest")
    data, _said = _small(session, descriptor.digest)
    _check(descriptor.digest, data, f"the manifest {descriptor.digest} is not what its digest says")
    return data


def _small(session: Session, name: str) -> tuple[bytes, str]:
    """An index or manifest, unchecked, and its media type as the registry says it."""
    left = session.patience.attempts
    while True:
        left -= 1
        try:
            with session.get(f"manifests/{name}", headers=_ACCEPT, stream=True) as response:
                data = bytearray()
                for chunk in session.chunks(response):
                    data += chunk
                    if len(data) > MANIFEST_LIMIT:
                        raise ArchiveError(f"{session.base} answered with more than a manifest may have")
                return bytes(data), response.headers.get("Content-Type", "").partition(";")[0].strip()
        except CutError:
            if not left:
                raise


def _check(digest: str, data: bytes, message: str) -> None:
    blob_name(digest)  # a digest of a known kind
    algorithm, _, wanted = digest.partition(":")
    found = hashlib.new(algorithm, data).hexdigest()
    if found != wanted:
        raise IntegrityError(
            digest,
            expected=digest,
            found=f"{algorithm}:{found} ({len(data)} bytes)",
            message=message,
            hint="The registry, a mirror or a proxy altered it. Nothing was used.",
        )


def _tagged(reference: Reference) -> Reference:
    return reference if reference.tag or reference.digest else replace(reference, tag="latest")


class _Bar:
    """One line of progress for several threads."""

    def __init__(self, report: Report, label: str, total: int) -> None:
        self._report = report
        self._label = label
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self.add(0)

    def add(self, count: int) -> None:
        """So many bytes more, or less."""
        with self._lock:
            self._done += count
            self._report(Transfer(self._label, self._label, self._done, self._total))

    def end(self) -> None:
        """All is there."""
        with self._lock:
            self._report(Transfer(self._label, self._label, self._total, self._total, finished=True))
