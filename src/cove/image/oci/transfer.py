# SPDX-License-Identifier: Apache-2.0
"""Images into the content store and out of it, as files.

In: an OCI layout (folder, tar, or a compressed tar), or what ``docker save`` wrote before it wrote OCI layouts.
Out: a tar that is an OCI layout and, for one platform, what ``docker load`` takes, at once.
"""

from __future__ import annotations

import hashlib
import io
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
from cove.image.oci.graph import blob_name, children, missing, present, walk
from cove.image.oci.layout import IMAGE_NAME, REF_NAME, Layout
from cove.image.oci.model import INDEX_TYPES, MANIFEST_TYPES, Descriptor, Platform, Root
from cove.image.oci.reader import choose_manifest
from cove.image.oci.reference import Reference, parse_reference
from cove.image.oci.store import ContentStore
from cove.image.oci.streams import decompressed, read_blob
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


def export_tar(
    store: ContentStore, reference: Reference, platforms: Sequence[Platform], out: BinaryIO, *, docker: bool
) -> None:
    """Write an image as a tar, the same bytes for the same image.

    Args:
        store: where from.
        reference: which.
        platforms: for which; none means all that are here.
        out: where to.
        docker: it must be for ``docker load`` of any age, so for one platform.

    Raises:
        NotFoundError: the store does not have it, or not for one of the platforms.
        UsageError: ``docker``, and it is here for several platforms.
    """
    with store.using():
        root = store.named(reference)
        if root is None:
            raise NotFoundError(
                f"the content store has no image {reference}", hint=f"cove cache pull {reference}"
            )
        manifests = [choose_manifest(root, one) for one in platforms]
        for manifest, platform in zip(manifests, platforms, strict=True):
            if any(missing(replace(root, descriptor=manifest), (), store.holds)):
                raise NotFoundError(
                    f"{reference} is not here for {platform}",
                    hint=f"cove cache pull --platform {platform} {reference}",
                )
        manifests = manifests or _present(store, root)
        if docker and len(manifests) != 1:
            raise UsageError(
                f"{reference} is here for several platforms, and docker load takes one",
                hint="Name it with --platform.",
            )
        whole = not any(missing(root, (), store.holds))
        top = manifests[0] if len(manifests) == 1 and (platforms or not whole) else root.descriptor
        _write(store, root, top, manifests, out)


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


def _present(store: ContentStore, root: Root) -> list[Descriptor]:
    if root.descriptor.is_manifest:
        return [root.descriptor]
    whole = set(present(root, store.holds))
    below = children(root.descriptor, read_blob(store, root.descriptor))
    return [one for one in below if one.is_manifest and (str(one.platform) in whole or one.platform is None)]


def _write(
    store: ContentStore, root: Root, top: Descriptor, manifests: Sequence[Descriptor], out: BinaryIO
) -> None:
    blobs: dict[str, Descriptor] = {}
    for manifest in manifests:
        below = replace(root, descriptor=manifest, blobs=store)
        blobs |= {one.digest: one for one in walk(below, (), store.holds)}
    blobs[top.digest] = top
    name = str(root.reference)
    entry: dict[str, Any] = {
        "mediaType": top.media_type,
        "digest": top.digest,
        "size": top.size,
        "annotations": {IMAGE_NAME: name, REF_NAME: root.reference.tag or name},
    }
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": [entry]}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json(index))
        if len(manifests) == 1:
            config, *layers = children(manifests[0], read_blob(store, manifests[0]))
            tagged = [name] if root.reference.tag else []
            old = {
                "Config": blob_name(config.digest),
                "RepoTags": tagged,
                "Layers": [blob_name(layer.digest) for layer in layers],
            }
            _add(tar, "manifest.json", _json([old]))
        for digest in sorted(blobs):
            with store.open(blobs[digest]) as stream:
                _add(tar, blob_name(digest), stream, blobs[digest].size)


def _add(tar: tarfile.TarFile, name: str, data: bytes | BinaryIO, size: int | None = None) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    info.size = len(data) if isinstance(data, bytes) else size or 0
    tar.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else data)
    tar.members = []  # type: ignore[attr-defined]  # else it keeps every header it wrote


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
