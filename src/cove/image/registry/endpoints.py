# SPDX-License-Identifier: Apache-2.0
"""Where the images of a registry can be had: its mirrors, then itself. Pure.

From the user's settings (``COVE_HOME/config.yml``), named as in docker's daemon.json:

    registry_mirrors: [https://mirror.example]     for Docker Hub, as docker has it; or by registry:
    registry_mirrors: {docker.io: [https://mirror.example], ghcr.io: [http://10.0.0.1:5000]}
    insecure_registries: [host:5000]               plain http, or https with a certificate that nobody checks
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cove.errors import UsageError

HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One place that speaks the registry's protocol.

    Args:
        host: with its port if it has one.
        schemes: to try, in this order: "https", "http".
        verify: whether its certificate is checked.
        mirror_of: the registry that it stands in for; "" when it is the registry itself.
    """

    host: str
    schemes: tuple[str, ...] = ("https",)
    verify: bool = True
    mirror_of: str = ""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whom we believe, and how we show who we are, before a word of the protocol is spoken.

    Args:
        authorities: certificates (PEM) beside those that the host trusts.
        client: files of a certificate and its key, where a registry asks for one.
    """

    authorities: str = ""
    client: tuple[Path, Path] | None = None


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    """What the user's settings say of registries.

    Args:
        mirrors: addresses by registry, the best first.
        insecure: hosts whose certificates are not checked, and which may speak plain http.
    """

    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    insecure: frozenset[str] = frozenset()

    def with_mirrors(self, texts: Sequence[str]) -> RegistrySettings:
        """These settings with more mirrors before their own, each ``URL`` (for Docker Hub) or ``REGISTRY=URL``.

        Raises:
            UsageError: one of them is neither.
        """
        found: dict[str, tuple[str, ...]] = {}
        for text in texts:
            registry, equals, url = text.partition("=")
            if not equals:
                registry, url = HUB, text
            found[registry] = (*found.get(registry, ()), _address(url))
        merged = {
            name: (*found.get(name, ()), *self.mirrors.get(name, ())) for name in {*found, *self.mirrors}
        }
        return RegistrySettings(mirrors=merged, insecure=self.insecure)

    def endpoints(self, registry: str) -> list[Endpoint]:
        """Where the images of ``registry`` can be had, in the order in which to try.

        A registry on the loopback is tried with https and then with http, as docker does.
        """
        found = []
        for url in self.mirrors.get(registry, ()):
            parts = urlsplit(url)
            found.append(
                Endpoint(
                    host=parts.netloc, schemes=(parts.scheme,), verify=parts.netloc not in self.insecure,
                    mirror_of=registry,
                )
            )  # fmt: skip
        host = _HUB_HOST if registry == HUB else registry
        plain = registry in self.insecure
        schemes = ("https", "http") if plain or _is_loopback(registry) else ("https",)
        return [*found, Endpoint(host=host, schemes=schemes, verify=not plain)]


def read_settings(config: Mapping[str, object]) -> RegistrySettings:
    """The settings of registries in the user's settings.

    Raises:
        UsageError: they have another form than the one at the top; all problems are named.
    """
    problems: list[str] = []
    mirrors = config.get("registry_mirrors", {})
    if isinstance(mirrors, list):
        mirrors = {HUB: mirrors}
    if not isinstance(mirrors, dict):
        problems.append(
            "registry_mirrors is neither a list of addresses nor a mapping from registries to lists"
        )
        mirrors = {}
    read: dict[str, tuple[str, ...]] = {}
    for registry, urls in mirrors.items():
        try:
            read[str(registry)] = tuple(_address(url) for url in ([urls] if isinstance(urls, str) else urls))
        except (UsageError, TypeError) as error:
            problems.append(f"registry_mirrors, {registry}: {error}")
    insecure = config.get("insecure_registries", [])
    if not isinstance(insecure, list) or not all(isinstance(host, str) for host in insecure):
        problems.append("insecure_registries is not a list of hosts")
        insecure = []
    if problems:
        raise UsageError("the settings of registries are wrong", details="\n".join(problems))
    return RegistrySettings(mirrors=read, insecure=frozenset(insecure))


def _address(url: Any) -> str:
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise UsageError(
            f"{url!r} is not the address of a mirror", hint="Write it as https://HOST, or http://HOST:PORT."
        )
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(registry: str) -> bool:
    host = registry.rpartition(":")[0] if not registry.endswith("]") and ":" in registry else registry
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
