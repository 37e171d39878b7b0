# SPDX-License-Identifier: Apache-2.0
"""Everything that an image is made of, for its bill of materials."""

from __future__ import annotations

from collections.abc import Sequence

from cove.image.linuxkit.assemble import Prepared
from cove.image.linuxkit.debian import Unpacked
from cove.image.linuxkit.output import Seen
from cove.image.oci.model import Image
from cove.image.oci.reference import parse_reference
from cove.image.sbom.attested import attested
from cove.image.sbom.component import Component, in_database, of_image


def all_components(
    prepared: Prepared, unpacked: Unpacked | None, databases: Sequence[Seen]
) -> list[Component]:
    """Images, the packages in them as attestations and databases name them, and the image's own packages.

    Args:
        prepared: the images.
        unpacked: the packages.
        databases: those of package managers in images, with the images' full names.

    Raises:
        IntegrityError, ArchiveError: an attestation is damaged.
    """
    found = [of_image(image) for image in prepared.images.values()]
    known: set[str] = set()
    for name, image in prepared.images.items():
        if isinstance(image, Image) and name in prepared.roots:
            parts = list(attested(prepared.roots[name], image))
            known |= {name for _ in parts[:1]}
            found += parts
    for one in databases:
        if one.source not in known:  # an attestation says more
            found += in_database(one.path, one.data, parse_reference(one.source).repository)
    return [*found, *(unpacked.components() if unpacked is not None else [])]
