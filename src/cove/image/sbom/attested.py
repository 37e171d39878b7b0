# SPDX-License-Identifier: Apache-2.0
"""What buildkit says of an image: the bill of materials that it attaches as an attestation.

Format: docs/attestations/attestation-storage.md and sbom.md of moby/buildkit: a manifest in the image's index whose
annotations name the image's manifest, with in-toto statements as layers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cove.errors import NotFoundError
from cove.image.oci.model import Descriptor, Image, Root
from cove.image.oci.reader import descriptor_of, manifests_of
from cove.image.oci.streams import read_blob
from cove.image.sbom.component import Component
from cove.image.sbom.licence import Licence

_KIND, _OF = "vnd.docker.reference.type", "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"
_SPDX = "https://spdx.dev/Document"
_MOST = 64 << 20


def attested(root: Root, image: Image) -> Iterator[Component]:
    """The components that attestations name; none where there are no attestations or they were not fetched.

    Raises:
        IntegrityError, ArchiveError: an attestation is damaged.
    """
    try:
        for manifest in manifests_of(root) if root.descriptor.is_index else ():
            notes = manifest.annotations
            if (notes.get(_KIND), notes.get(_OF)) == ("attestation-manifest", image.manifest.digest):
                yield from _in_manifest(root, manifest, str(image.reference.repository))
    except NotFoundError:
        return


def _in_manifest(root: Root, manifest: Descriptor, within: str) -> Iterator[Component]:
    about = _json(read_blob(root.blobs, manifest))
    for layer in map(descriptor_of, about.get("layers") or []):
        if layer.annotations.get(_PREDICATE) == _SPDX:
            document = _json(read_blob(root.blobs, layer, limit=_MOST)).get("predicate")
            packages = document.get("packages") if isinstance(document, dict) else None
            for one in packages if isinstance(packages, list) else []:
                yield from _component(one, within)


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _component(one: Any, within: str) -> Iterator[Component]:
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        return
    references = one.get("externalRefs") or []
    url = next((r["referenceLocator"] for r in references if r.get("referenceType") == "purl"), "")
    checksums = one.get("checksums") or []
    licence = one.get("licenseDeclared", "NOASSERTION")
    yield Component(
        kind=url.removeprefix("pkg:").partition("/")[0] or "generic",
        name=one["name"],
        version=str(one.get("versionInfo", "")),
        sha256=next((c["checksumValue"] for c in checksums if c.get("algorithm") == "SHA256"), ""),
        licence=Licence((licence,)) if licence not in ("NOASSERTION", "NONE") else Licence(),
        within=within,
        url=url,
    )
