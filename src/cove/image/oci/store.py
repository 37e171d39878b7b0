# SPDX-License-Identifier: Apache-2.0
"""The content store: images that were pulled or imported, in one folder that is an OCI layout itself.

    oci-layout, index.json      image-layout.md of opencontainers/image-spec 1.1; each named image is an entry
    blobs/ALGORITHM/HEX         verified before they get their name
    blobs/ALGORITHM/.HEX.part   a download that was cut off, to be taken up again
    .lock                       flock: exclusive while index.json is replaced
    .use                        flock: shared by whoever reads or adds blobs, exclusive to remove blobs

So any program that reads OCI layouts can read the store. Blobs come first and the name last: whatever interrupts
a pull leaves at most blobs that no name leads to, and those go with the next removal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from cove.errors import ArchiveError, NotFoundError
from cove.image.oci.graph import blob_name, missing, present, reachable
from cove.image.oci.layout import IMAGE_NAME, REF_NAME, Layout
from cove.image.oci.model import INDEX_TYPES, MANIFEST_TYPES, Descriptor, Platform, Root
from cove.image.oci.reference import Reference
from cove.system.files import locked, private_folder, shared_lock, storage_errors, try_lock, write_json
from cove.system.part import Part

MANIFEST_LIMIT = 4 << 20
"""Bytes of an index or a manifest, as registries have it (distribution-spec 1.1, "Pushing Manifests")."""

_BUSY = 60.0


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A named image of the store.

    Args:
        name: its full name.
        descriptor: its index or manifest.
        platforms: those that are here whole.
        size: bytes of its blobs that are here; blobs may be shared with other images.
    """

    name: str
    descriptor: Descriptor
    platforms: tuple[str, ...]
    size: int


class ContentStore:
    """The content store; a place to take images from (:class:`cove.image.oci.model.ImageSource`).

    Args:
        root: its folder; made, readable by its owner only, when something is added.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, reference: Reference, platforms: Sequence[Platform]) -> Root | None:
        """The image of that name if all of it that is wanted is here, else None.

        A name with a digest is found whatever name the image was stored under.

        Raises:
            ArchiveError, IntegrityError: the store is damaged.
        """
        root = self.named(reference)
        return None if root is None or any(missing(root, platforms, self.holds)) else root

    def named(self, reference: Reference) -> Root | None:
        """The image of that name, whole or not; otherwise as :meth:`find`."""
        layout = self._layout()
        root = layout.find(reference, ()) if layout else None
        if root is None and reference.digest:
            root = self._pinned(reference)
        return None if root is None else replace(root, blobs=self)

    def images(self) -> list[Stored]:
        """Every named image, by name.

        Raises:
            ArchiveError, IntegrityError: the store is damaged.
        """
        layout = self._layout()
        found = []
        for reference, descriptor in layout.images() if layout else ():
            root = Root(reference=reference, descriptor=descriptor, blobs=self)
            parts = {one.digest: one.size for one in reachable(root, self.holds)}
            found.append(
                Stored(
                    name=str(reference),
                    descriptor=descriptor,
                    platforms=tuple(sorted(present(root, self.holds))),
                    size=sum(parts.values()),
                )
            )
        return sorted(found, key=lambda image: image.name)

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether a blob is here, with its right size."""
        try:
            return self.blob(descriptor.digest).stat().st_size == descriptor.size
        except (FileNotFoundError, NotADirectoryError):
            return False

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """A stream of a blob's bytes; they were verified when they came.

        Raises:
            NotFoundError: it is not here.
        """
        try:
            return self.blob(descriptor.digest).open("rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(
                f"the content store has no {descriptor.digest}", hint="Pull the image again."
            ) from error

    def blob(self, digest: str) -> Path:
        """Where a blob lies, or would lie."""
        return self.root / blob_name(digest)

    def part(self, descriptor: Descriptor, progress: Any = lambda _count: None) -> Part:
        """The blob as something to be loaded; use it within :meth:`using`.

        Args:
            descriptor: which.
            progress: told by how many bytes what is there grew or shrank.
        """
        return Part(
            name=descriptor.digest,
            target=self.blob(descriptor.digest),
            digest=descriptor.digest,
            expected=descriptor.size,
            progress=progress,
            altered=f"the blob {descriptor.digest} is not what its digest says",
        )

    def add(self, descriptor: Descriptor, data: bytes) -> None:
        """Add a small blob; use it within :meth:`using`.

        Raises:
            IntegrityError: its digest or size is another.
            StorageError: the disk is full or not writable.
        """
        if self.holds(descriptor):
            return
        with storage_errors("storing an image"), self.part(descriptor) as part:
            if part.size:
                part.restart()
            part.write(data)
            part.finish()

    @contextmanager
    def using(self) -> Iterator[None]:
        """While the block runs no blob is removed, by no process.

        Raises:
            DeadlineError: someone has been removing blobs all the time.
            StorageError: the folder cannot be made.
        """
        private_folder(self.root)
        with shared_lock(self.root / ".use", waiting_for="removing images", deadline=_BUSY):
            yield

    def name(self, reference: Reference, descriptor: Descriptor) -> None:
        """Give an image a name; whatever had it loses it. All blobs are to be here already.

        Raises:
            DeadlineError: another process holds the store's index.
            StorageError: the disk is full or not writable.
        """
        name = str(reference)
        named = {
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
            "annotations": {IMAGE_NAME: name, REF_NAME: name},
        }
        with self._index() as entries:
            entries[:] = [*(one for one in entries if _name(one) != name), named]
            entries.sort(key=_name)

    def remove(self, references: Sequence[Reference]) -> int:
        """Take names away, and the blobs that no name leads to any more; returns the bytes freed.

        While someone reads or adds images, blobs stay until the next removal.

        Raises:
            NotFoundError: one of them is not here; nothing is removed.
            DeadlineError, StorageError: see :meth:`name`.
        """
        with self._index() as entries:
            names = {_name(one) for one in entries}
            doomed = set()
            for reference in references:
                known = [name for name in reference.names if name in names]
                if not known:
                    raise NotFoundError(f"the content store has no image {reference}", hint="cove cache ls")
                doomed.add(known[0])
            entries[:] = [one for one in entries if _name(one) not in doomed]
        return self.sweep()

    def sweep(self) -> int:
        """Remove blobs that no name leads to, and downloads that were cut off; returns the bytes freed.

        Does nothing while someone reads or adds images.

        Raises:
            ArchiveError, IntegrityError: the store is damaged: nothing is removed.
        """
        if not (self.root / "blobs").is_dir():
            return 0
        handle = try_lock(self.root / ".use")
        if handle is None:
            return 0
        try:
            return self._sweep()
        finally:
            os.close(handle)

    def _sweep(self) -> int:
        layout = self._layout()
        kept = set()
        for reference, descriptor in layout.images() if layout else ():
            root = Root(reference=reference, descriptor=descriptor, blobs=self)
            kept |= {self.blob(one.digest) for one in reachable(root, self.holds)}
        freed = 0
        for path in sorted((self.root / "blobs").glob("*/*")):
            if path not in kept:
                freed += path.stat().st_blocks * 512
                path.unlink()
        return freed

    def _layout(self) -> Layout | None:
        return Layout(self.root) if (self.root / "index.json").is_file() else None

    def _pinned(self, reference: Reference) -> Root | None:
        """The blob of the digest that a name is pinned to, whoever brought it here."""
        path = self.blob(reference.digest)
        try:
            size = path.stat().st_size
            data = json.loads(path.read_bytes()) if size <= MANIFEST_LIMIT else None
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        if not isinstance(data, dict):
            return None
        kind = INDEX_TYPES[0] if "manifests" in data else MANIFEST_TYPES[0] if "layers" in data else ""
        descriptor = Descriptor(
            media_type=str(data.get("mediaType", kind)), digest=reference.digest, size=size
        )
        return Root(reference=reference, descriptor=descriptor, blobs=self)

    @contextmanager
    def _index(self) -> Iterator[list[dict[str, Any]]]:
        """The index's entries, to be changed; written when the block ends without an error."""
        private_folder(self.root)
        with locked(self.root / ".lock", waiting_for="changing the content store", deadline=_BUSY):
            path = self.root / "index.json"
            try:
                entries = json.loads(path.read_bytes())["manifests"]
            except FileNotFoundError:
                entries = []
            except (ValueError, KeyError, TypeError) as error:
                raise ArchiveError(f"{path} is damaged", details=str(error)) from error
            yield entries
            write_json(self.root / "oci-layout", {"imageLayoutVersion": "1.0.0"})
            write_json(path, {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": entries})


def _name(entry: dict[str, Any]) -> str:
    return str(entry.get("annotations", {}).get(IMAGE_NAME, ""))
