# SPDX-License-Identifier: Apache-2.0
"""Load one blob into the content store: resumed where it was cut off, checked, or not there at all."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cove.errors import CoveError, IntegrityError, NetworkError
from cove.image.oci.model import Descriptor
from cove.image.oci.store import ContentStore
from cove.image.registry.session import CutError, Session
from cove.image.registry.transport import Patience
from cove.system.part import Part


class StoppedError(CoveError):
    """Another part of the same work failed; this one ends as well."""


def load_blob(
    session: Session,
    store: ContentStore,
    descriptor: Descriptor,
    *,
    progress: Callable[[int], None],
    stop: threading.Event,
    patience: Patience,
) -> None:
    """Load a blob; what arrived before a failure stays for the next attempt.

    Args:
        session: with the registry.
        store: where it goes; whoever calls is :meth:`~cove.image.oci.store.ContentStore.using` it.
        descriptor: which.
        progress: told by how many bytes what is here grew or shrank.
        stop: set to end it early.
        patience: how often in a row it may be cut off without getting any further.

    Raises:
        NetworkError, NotFoundError: it cannot be had.
        IntegrityError: it is not what its digest says; nothing of it is kept.
        StoppedError: ``stop`` was set.
    """
    with store.part(descriptor, progress) as part:
        resumed = part.size > 0
        _load(session, part, stop, patience)
        try:
            part.finish()
        except IntegrityError:
            if not resumed:
                raise
            # what was left of an earlier attempt may have been the wrong half
            _load(session, part, stop, patience)
            part.finish()


def _load(session: Session, part: Part, stop: threading.Event, patience: Patience) -> None:
    failed = 0
    while part.size != part.expected:
        before = part.size
        try:
            _stream(session, part, stop)
        except CutError as error:
            failed = 1 if part.size > before else failed + 1
            if failed >= patience.attempts:
                raise NetworkError(
                    f"{session.endpoint.host} cuts the connection again and again",
                    details=f"{part.digest}: {part.size} of {part.expected} bytes\n{error}",
                    hint="What was loaded is kept: run the command again.",
                ) from error
            # not a wait for something of ours: a server in trouble is left alone for a moment
            stop.wait(patience.backoff * 2 ** (failed - 1))
        else:
            return


def _stream(session: Session, part: Part, stop: threading.Event) -> None:
    if part.size > part.expected:
        part.restart()
    place = part.size
    headers = {"Range": f"bytes={place}-"} if place else {}
    with session.get(f"blobs/{part.digest}", headers=headers, good=(200, 206, 416), stream=True) as response:
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {place}-")
        if place and not (response.status_code == 206 and goes_on):
            part.restart()
            if response.status_code != 200:
                raise CutError(f"HTTP {response.status_code} does not continue what is here")
        for chunk in session.chunks(response):
            if stop.is_set():
                raise StoppedError("another part of the image could not be loaded")
            part.write(chunk)
    # with a length, or in chunks, the client itself sees a cut: then a short blob is a wrong blob
    told = {"Content-Length", "Transfer-Encoding"} & {name.title() for name in response.headers}
    if part.size < part.expected and not told:
        raise CutError(f"the connection ended after {part.size} of {part.expected} bytes")
