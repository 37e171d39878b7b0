# SPDX-License-Identifier: Apache-2.0
"""Where an image comes from, as an in-toto statement with SLSA provenance. Pure, the same for the same inputs.

Formats: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance. The statement is not signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cove.image.sbom.component import Component
from cove.version import __version__

BUILD_TYPE = "https://cove.internal/build/v1"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that went in or came out.

    Args:
        name: as it is called where it lies.
        sha256: digest (hex).
    """

    name: str
    sha256: str


def statement(
    subjects: Sequence[Artifact],
    parameters: Mapping[str, Any],
    files: Sequence[Artifact],
    components: Sequence[Component],
) -> bytes:
    """The statement.

    Args:
        subjects: what was built.
        parameters: what the user asked for: formats, architecture, options.
        files: YAML files and sources.
        components: images and packages.
    """
    wanted = [one for one in components if not one.within and one.sha256]
    body = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_artifact(one) for one in sorted(subjects, key=lambda one: one.name)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": dict(parameters),
                "internalParameters": {},
                "resolvedDependencies": [
                    *({"uri": f"file:{one.name}", "digest": {"sha256": one.sha256}} for one in files),
                    *(
                        {"uri": one.purl, "digest": {"sha256": one.sha256}}
                        for one in sorted(wanted, key=lambda one: one.key)
                    ),
                ],
            },
            "runDetails": {
                "builder": {"id": "https://cove.internal/builder", "version": {"cove": __version__}}
            },
        },
    }
    return (json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _artifact(one: Artifact) -> dict[str, Any]:
    return {"name": one.name, "digest": {"sha256": one.sha256}}
