# SPDX-License-Identifier: Apache-2.0
"""What may stand in a recipe: LinuxKit's form, as far as Cove builds it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from cove.image.marked import Marked, Place, Problem

LATER = ("init", "onboot", "onshutdown", "services", "volumes", "trust")
"""LinuxKit's sections that are understood as such, and refused until the builder can make them."""

_LATER_KERNEL = ("image", "tar", "ucode")

_TEXT: dict[str, Any] = {"type": "string"}
_NAME: dict[str, Any] = {"type": "string", "minLength": 1}
_NAMES: dict[str, Any] = {"type": "array", "items": _NAME}
_OWNER: dict[str, Any] = {
    "anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**32 - 2}, {"const": "root"}]
}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "kernel": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "package": _NAME,
                "external": {"type": "boolean"},
                "binary": _NAME,
                "cmdline": _TEXT,
                "init": _NAME,
                "modules": _NAMES,
            },
        },
        "packages": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "include": _NAMES,
                "exclude": _NAMES,
                "drop": _NAMES,
                "applets": {"type": "boolean"},
            },
        },
        "files": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["path"],
                "properties": {
                    "path": _NAME,
                    "directory": {"type": "boolean"},
                    "symlink": _NAME,
                    "contents": _TEXT,
                    "source": _NAME,
                    "optional": {"type": "boolean"},
                    "mode": {"type": "string", "pattern": "^[0-7]{1,4}$"},
                    "uid": _OWNER,
                    "gid": _OWNER,
                },
            },
        },
    },
}

_VALIDATOR = Draft202012Validator(SCHEMA)
_TYPES = {"object": "a mapping", "array": "a list", "string": "a string", "boolean": "true or false"}


def check(document: Marked) -> list[Problem]:
    """Every problem that the schema finds in ``document``, none left for a second try."""
    found = [*document.problems]
    for error in _VALIDATOR.iter_errors(document.value):
        found.extend(_explain(document, error))
    return found


def _explain(document: Marked, error: ValidationError) -> Iterator[Problem]:
    place: Place = tuple(error.absolute_path)
    schema: Any = error.schema
    instance: Any = error.instance
    match error.validator:
        case "additionalProperties":
            known: list[str] = sorted(schema["properties"])
            for key in instance:
                if key not in known:
                    yield document.problem((*place, str(key)), _unknown(place, key, known))
        case "required":
            missing = [key for key in schema["required"] if key not in instance]
            yield document.problem(place, f"{' and '.join(missing)} is missing")
        case "type":
            wanted = _TYPES.get(str(error.validator_value), str(error.validator_value))
            yield document.problem(place, f"must be {wanted}{_quoting(place, error.instance)}")
        case "pattern":
            yield document.problem(place, f'{error.instance!r} is not an octal mode such as "0644"')
        case "anyOf":
            yield document.problem(place, 'must be a number from 0 or "root"')
        case "minLength":
            yield document.problem(place, "must not be empty")
        case _:
            yield document.problem(place, error.message)


def _quoting(place: Place, value: object) -> str:
    if place[-1:] == ("mode",) and isinstance(value, int):
        return f', in quotes: mode: "{value:04o}"'
    return ""


def _unknown(place: Place, key: object, known: list[str]) -> str:
    if (not place and key in LATER) or (place == ("kernel",) and key in _LATER_KERNEL) or key == "metadata":
        return "not yet supported"
    return f"is not known here (known: {', '.join(known)})"
