# SPDX-License-Identifier: Apache-2.0
"""Docker contexts as data: what a context's file holds, and which contexts are ours. Pure.

The format is docker's own (docker/cli, ``cli/context/store``), checked with docker 26.1 and 28.5:
``CONFIG/contexts/meta/SHA256(NAME)/meta.json`` describes a context, ``currentContext`` in ``CONFIG/config.json``
names the one in use. A context is ours if its description begins with :data:`MARK`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePath

from cove.errors import UsageError

MARK = "Cove machine "
"""How the description of each of our contexts begins; the machine's name follows."""

CURRENT = "currentContext"
"""The key of config.json that names the context in use; absent for docker's own ``default``."""

_DEFAULT = "default"
_UNIX = "unix://"


@dataclass(frozen=True, kw_only=True)
class Context:
    """One docker context.

    Args:
        name: how docker's clients call it.
        description: for people.
        host: the endpoint, as in ``DOCKER_HOST``.
    """

    name: str
    description: str
    host: str

    @classmethod
    def of_machine(cls, machine: str, socket: PurePath) -> Context:
        """The context of a machine: ``cove`` for the one called default, ``cove-NAME`` for others."""
        return cls(name=context_name(machine), description=f"{MARK}{machine}", host=f"{_UNIX}{socket}")

    @property
    def ours(self) -> bool:
        """Whether Cove made it."""
        return self.description.startswith(MARK)

    @property
    def machine(self) -> str:
        """The name of its machine, if it is ours."""
        return self.description.removeprefix(MARK)

    @property
    def socket(self) -> Path | None:
        """The unix socket that it leads to, if it is one."""
        return Path(self.host.removeprefix(_UNIX)) if self.host.startswith(_UNIX) else None


def context_name(machine: str) -> str:
    """The name of a machine's context."""
    return "cove" if machine == _DEFAULT else f"cove-{machine}"


def folder_name(context: str) -> str:
    """The name of the folder below ``contexts/meta`` that describes a context."""
    return hashlib.sha256(context.encode()).hexdigest()


def to_meta(context: Context) -> str:
    """The contents of a context's meta.json, byte for byte as docker writes it."""
    value = {
        "Name": context.name,
        "Metadata": {"Description": context.description},
        "Endpoints": {"docker": {"Host": context.host, "SkipTLSVerify": False}},
    }
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def from_meta(data: object) -> Context | None:
    """The context that the JSON of a meta.json describes; None for anything else."""
    try:
        name = data["Name"]  # type: ignore[index]
        description = (data["Metadata"] or {}).get("Description", "")  # type: ignore[index]
        host = data["Endpoints"]["docker"]["Host"]  # type: ignore[index]
    except (LookupError, TypeError, AttributeError):
        return None
    texts = (name, description, host)
    return Context(name=name, description=description, host=host) if _all_text(texts) else None


def _all_text(values: tuple[object, ...]) -> bool:
    return all(isinstance(value, str) for value in values)


def current_context(config: str) -> str:
    """The context in use, from the text of config.json; docker's own if nothing is said."""
    value = _object(config).get(CURRENT)
    return value if isinstance(value, str) and value else _DEFAULT


def with_current(config: str, context: str) -> str:
    """The text of config.json with another context in use; all else as it was, in docker's own layout.

    Raises:
        UsageError: the text is not a JSON object, so that nothing of it could be kept.
    """
    value = _object(config)
    if context == _DEFAULT:
        value.pop(CURRENT, None)
    else:
        value[CURRENT] = context
    return json.dumps(value, indent="\t", ensure_ascii=False)


def _object(config: str) -> dict[str, object]:
    try:
        value = json.loads(config) if config.strip() else {}
    except ValueError as error:
        raise UsageError("docker's config.json is not JSON", details=str(error)) from error
    if not isinstance(value, dict):
        raise UsageError("docker's config.json is not a JSON object")
    return value
