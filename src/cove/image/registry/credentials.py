# SPDX-License-Identifier: Apache-2.0
"""Who we are at a registry: what ``docker login`` left behind.

Docker's config.json names per registry a credential helper (``credHelpers``), else one for all (``credsStore``),
else has the secret itself (``auths``). A helper is a program ``docker-credential-NAME`` that reads the registry's
name and answers with JSON: github.com/docker/docker-credential-helpers. The user name ``<token>`` marks an identity
token, which is exchanged at the registry's token service (distribution: docs/spec/auth/oauth.md).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cove.errors import CommandError, DeadlineError, ToolError, UsageError
from cove.image.registry.endpoints import HUB

RunHelper = Callable[[str, bytes], bytes]
"""Runs the program of that name with ``get`` and that input; returns what it prints. Raises as ``run`` does."""

_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # noqa: S105  (a marker of the protocol)


@dataclass(frozen=True, kw_only=True, repr=False)
class Credentials:
    """Who we are. Its text form shows no secret.

    Args:
        username: empty with an identity token.
        password: the password or access token.
        identity_token: exchanged for access tokens instead of a password.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""

    @property
    def basic(self) -> str:
        """The value of an ``Authorization: Basic`` header."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def __repr__(self) -> str:
        return f"<credentials of {self.username or 'an identity token'}>"


def credentials_for(registry: str, config: Mapping[str, Any], helper: RunHelper) -> Credentials | None:
    """What docker's configuration has for a registry; None when it has nothing.

    Args:
        registry: its host, "docker.io" for Docker Hub.
        config: docker's config.json, parsed.
        helper: runs a credential helper.

    Raises:
        UsageError: the configuration is damaged.
        ToolError: a helper is missing, or fails for another reason than that it knows nothing.
    """
    auths = _mapping(config, "auths")
    helpers = _mapping(config, "credHelpers")
    for key in _keys(registry, [*helpers, *auths]):
        if key in helpers:
            return _ask(str(helpers[key]), key, helper)
    store = config.get("credsStore")
    for index, key in enumerate(_keys(registry, auths)):
        known = index == 0 or key in auths
        if isinstance(store, str) and store and known and (found := _ask(store, key, helper)):
            return found
        if key in auths and (found := _stored(key, auths[key])):
            return found
    return None


def _keys(registry: str, known: Any) -> list[str]:
    """The names under which docker may have saved a registry, the usual one first."""
    if registry == HUB:
        return [_HUB_KEY, HUB, "index.docker.io", "registry-1.docker.io"]
    return [registry, *(key for key in known if key != registry and _host(key) == registry)]


def _host(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _stored(key: str, entry: Any) -> Credentials | None:
    if not isinstance(entry, dict):
        raise UsageError(
            f"docker's configuration is damaged: auths, {key}", hint=f"docker login {_host(key)}"
        )
    if entry.get("identitytoken"):
        return Credentials(identity_token=str(entry["identitytoken"]))
    if entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, TypeError) as error:
            raise UsageError(
                f"docker's configuration is damaged: auths, {key}, auth", hint=f"docker login {_host(key)}"
            ) from error
        return Credentials(username=username, password=password.rstrip("\0"))
    if entry.get("username"):
        return Credentials(username=str(entry["username"]), password=str(entry.get("password", "")))
    return None


def _ask(name: str, key: str, helper: RunHelper) -> Credentials | None:
    program = f"docker-credential-{name}"
    try:
        answer = json.loads(helper(program, key.encode()))
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except CommandError as error:
        if "credentials not found" in error.output.lower():
            return None
        raise ToolError(
            f"{program} did not give the credentials of {key}", details=error.output.strip() or error.message
        ) from error
    except DeadlineError as error:
        raise ToolError(f"{program} did not answer", details=error.message) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError(f"{program} answered something that is no JSON of credentials") from error
    if username == _TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(username=username, password=secret) if secret else None


def _mapping(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict):
        raise UsageError(f"docker's configuration is damaged: {key} is not a mapping")
    return value
