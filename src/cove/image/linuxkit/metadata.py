# SPDX-License-Identifier: Apache-2.0
"""``files: metadata``: the merged configuration, written into the image. Pure."""

from __future__ import annotations

from typing import Any

from cove.image.linuxkit import schema
from cove.image.linuxkit.config import Config
from cove.image.linuxkit.gowrite import json_value, to_json, to_yaml, yaml_value
from cove.image.linuxkit.meaning import SECTIONS
from cove.image.oci.reference import parse_reference


def metadata(config: Config, form: str) -> bytes:
    """The configuration with full names of images (those of volumes stay as they are, as in LinuxKit).

    Args:
        config: which.
        form: "yaml" or "json".
    """
    raw: dict[str, Any] = dict(config.raw)
    if raw["kernel"].get("image"):
        raw["kernel"] = {**raw["kernel"], "image": _full(raw["kernel"]["image"])}
    raw["init"] = [_full(name) for name in raw["init"]]
    for section in SECTIONS:
        raw[section] = [{**one, "image": _full(one["image"])} for one in raw[section]]
    if form == "json":
        return to_json(json_value(raw, schema.CONFIG))
    return to_yaml(yaml_value(raw, schema.CONFIG), version=2).encode("utf-8", "surrogateescape")


def _full(name: str) -> str:
    return str(parse_reference(name))
