# SPDX-License-Identifier: Apache-2.0
"""A bill of materials as SPDX 2.3 JSON (https://spdx.github.io/spdx-spec/v2.3/). Pure, the same for the same image.

Its namespace is a hash of what it says, where LinuxKit has a random number, and its time is that of everything
generated: two builds of the same image agree.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from cove.image.sbom.component import Component
from cove.version import __version__

FILE = "sbom.spdx.json"
"""Its usual name in an image."""

CREATED = "2017-04-18T16:30:00Z"

_SPACE = uuid.UUID("6f3a4e4c-3f0e-5a7a-9d0c-0f6b8d6a2c11")
_DOCUMENT = "SPDXRef-DOCUMENT"
_IMAGE = "SPDXRef-Image"


def spdx_document(name: str, components: Iterable[Component], *, created: str = CREATED) -> bytes:
    """The document.

    Args:
        name: of the image.
        components: in any order; equal ones are told once.
        created: when it was made (RFC 3339).
    """
    ordered = sorted({one.key: one for one in components}.values(), key=lambda one: one.key)
    ids = {one.key: f"SPDXRef-{number}-{_safe(one.name)}" for number, one in enumerate(ordered, 1)}
    images = {one.name: ids[one.key] for one in ordered if one.kind == "oci"}
    body: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": name,
        "creationInfo": {"created": created, "creators": [f"Tool: cove-{__version__}"]},
        "packages": [_image(name), *(_package(one, ids[one.key]) for one in ordered)],
        "relationships": [
            _relation(_DOCUMENT, "DESCRIBES", _IMAGE),
            *(_relation(images.get(one.within, _IMAGE), "CONTAINS", ids[one.key]) for one in ordered),
        ],
    }
    if references := _references(ordered):
        body["hasExtractedLicensingInfos"] = references
    said = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    body["documentNamespace"] = f"https://cove.internal/spdx/{uuid.uuid5(_SPACE, said)}"
    return (json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _image(name: str) -> dict[str, Any]:
    return {
        "SPDXID": _IMAGE,
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    }


def _package(one: Component, reference: str) -> dict[str, Any]:
    package: dict[str, Any] = {
        "SPDXID": reference,
        "name": one.name,
        "versionInfo": one.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": one.licence.expression,
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "CONTAINER" if one.kind == "oci" else "INSTALL",
    }
    if one.purl:
        package["externalRefs"] = [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": one.purl}
        ]
    if one.sha256:
        package["checksums"] = [{"algorithm": "SHA256", "checksumValue": one.sha256}]
    if one.source:
        package["sourceInfo"] = f"built from source package {one.source}"
    if one.kind == "deb":
        package["supplier"] = "Organization: Debian"
    return package


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _references(components: Sequence[Component]) -> list[dict[str, str]]:
    names = sorted(
        {name for one in components for name in one.licence.names if name.startswith("LicenseRef-")}
    )
    return [
        {
            "licenseId": name,
            "name": name.removeprefix("LicenseRef-"),
            "extractedText": "See the copyright files of the packages that declare it.",
        }
        for name in names
    ]


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text)
