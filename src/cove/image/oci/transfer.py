# SPDX-License-Identifier: Apache-2.0
"""Images into the content store, from files.

An OCI layout (folder, tar, or a compressed tar), or what ``docker save`` wrote before it wrote OCI layouts.
The way out is :mod:`cove.image.oci.export`.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO

from cove.errors import ArchiveError, NotFoundError, UsageError
from cove.image.oci.graph import blob_name, present, walk
from cove.image.oci.layout import IMAGE_NAME, REF_NAME, Layout
from cove.image.oci.model import MANIFEST_TYPES, Descriptor, Root
from cove.image.oci.reference import Reference, parse_reference
from cove.image.oci.store import ContentStore
from cove.image.oci.streams import decompressed
from cove.system.files import private_folder, storage_errors

_CHUNK = 1 << 20
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


def import_layout(store: ContentStore, layout: Layout, names: Sequence[Reference]) -> list[Reference]:
    """Take the images of an OCI layout into the store.

    Args:
        store: where to.
        layout: where from.
        names: other names for its only image; without them all that have a name are taken.

    Returns:
        the names of what is there now.

    Raises:
        UsageError: no image has a name and none was given, or names were given for several images.
        ArchiveError: an image is not whole for any platform.
        IntegrityError: a blob is not what its digest says.
        StorageError: the disk is full or not writable.
    """
    found = list(layout.images())
    if names:
        descriptor = _only([one for _, one in found] or layout.manifests, layout.path)
        found = [(name, descriptor) for name in names]
    if not found:
        raise UsageError(
            f"no image of {layout.path} has a full name",
            details=f"names are read from the annotations {IMAGE_NAME} and {REF_NAME}",
            hint="Give it one with --name.",
        )
    with store.using(), storage_errors("storing an image"):
        for reference, descriptor in found:
            _copy(store, Root(reference=reference, descriptor=descriptor, blobs=layout))
            store.name(reference, descriptor)
    return [reference for reference, _ in found]


def import_docker_archive(store: ContentStore, path: Path, names: Sequence[Reference]) -> list[Reference]:
    """Take the images of an archive of ``docker save`` without ``index.json`` into the store.

    Format: manifest.json as Docker has written it since 1.10; layers become OCI layers, uncompressed as they are.
    Arguments, results and errors as in :func:`import_layout`.
    """
    done = []
    with (
        store.using(),
        storage_errors("storing an image"),
        _archive_errors(path),
        tarfile.open(path, "r:") as tar,
    ):
        entries = json.loads(_member(tar, "manifest.json").read())
        if names and len(entries) != 1:
            raise UsageError(f"{path} holds {len(entries)} images: a name is for one")
        for entry in entries:
            descriptor = _convert(store, tar, entry)
            for reference in names or [parse_reference(tag) for tag in entry.get("RepoTags") or ()]:
                store.name(reference, descriptor)
                done.append(reference)
    if not done:
        raise UsageError(f"no image of {path} has a name", hint="Give it one with --name.")
    return done


@contextmanager
def unpacked(source: Path | BinaryIO, scratch: Path) -> Iterator[Path]:
    """What is to be imported as a folder or an uncompressed tar, for the length of the block.

    Args:
        source: a folder, a tar, a compressed tar, or a stream of one of the latter.
        scratch: a folder for what must be unpacked first.

    Raises:
        NotFoundError: it is not there.
        ArchiveError: it cannot be decompressed.
        StorageError: the disk is full.
    """
    if isinstance(source, Path) and source.is_dir():
        yield source
        return
    with ExitStack() as stack:
        if isinstance(source, Path):
            try:
                source = stack.enter_context(source.open("rb"))
            except OSError as error:
                raise NotFoundError(f"{source} cannot be read: {error.strerror}") from error
        chunks = decompressed(iter(partial(source.read, _CHUNK), b""))
        with storage_errors("unpacking what is to be imported"):
            private_folder(scratch)
            out = stack.enter_context(NamedTemporaryFile(dir=scratch, prefix=".import."))
            for chunk in chunks:
                out.write(chunk)
            out.flush()
        yield Path(out.name)


def is_layout(path: Path) -> bool:
    """Whether something :func:`unpacked` claims to be an OCI layout; else it may be an archive of docker."""
    if path.is_dir():
        return True
    with _archive_errors(path), tarfile.open(path, "r:") as tar:
        return any(member.name.removeprefix("./") == "index.json" for member in tar)


def _copy(store: ContentStore, root: Root) -> None:
    def readable(descriptor: Descriptor) -> bool:
        blob_name(descriptor.digest)
        try:
            root.blobs.open(descriptor).close()
        except NotFoundError:
            return False
        return True

    for one in walk(root, (), readable):
        if not store.holds(one) and readable(one):
            with root.blobs.open(one) as stream:
                _put(store, one, stream)
    if not any(present(replace(root, blobs=store), store.holds)):
        raise ArchiveError(f"{root.reference} is not whole for any platform", hint="Export it again.")


def _put(store: ContentStore, descriptor: Descriptor, stream: Any) -> None:
    with store.part(descriptor) as part:
        if part.size:
            part.restart()
        while chunk := stream.read(_CHUNK):
            part.write(chunk)
        part.finish()


def _convert(store: ContentStore, tar: tarfile.TarFile, entry: Any) -> Descriptor:
    """Store one image of a docker archive; returns its new manifest."""
    parts = [_stored(store, tar, entry["Config"], _CONFIG_TYPE)]
    parts += [_stored(store, tar, layer, _LAYER_TYPE) for layer in entry["Layers"]]
    config, *layers = [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in parts]
    manifest = _json({"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "config": config, "layers": layers})
    descriptor = Descriptor(
        media_type=MANIFEST_TYPES[0],
        digest=f"sha256:{hashlib.sha256(manifest).hexdigest()}",
        size=len(manifest),
    )
    store.add(descriptor, manifest)
    return descriptor


def _stored(store: ContentStore, tar: tarfile.TarFile, name: str, kind: str) -> Descriptor:
    digest = hashlib.sha256()
    size = 0
    stream = _member(tar, name)
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    descriptor = Descriptor(media_type=kind, digest=f"sha256:{digest.hexdigest()}", size=size)
    if not store.holds(descriptor):
        _put(store, descriptor, _member(tar, name))
    return descriptor


def _member(tar: tarfile.TarFile, name: str) -> Any:
    stream = tar.extractfile(name)  # follows links: docker links to layers that repeat
    if stream is None:
        raise ArchiveError(f"{name} is not a file")
    return stream


@contextmanager
def _archive_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(
            f"{path} is neither an OCI layout nor an archive of docker save", details=repr(error)
        ) from error


def _only(found: Sequence[Descriptor], path: Path) -> Descriptor:
    digests = {one.digest for one in found}
    if len(digests) != 1:
        raise UsageError(
            f"{path} holds {len(digests)} images: a name is for one", hint="Import it without --name."
        )
    return found[0]


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
