# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.errors import UsageError
from cove.image.registry.endpoints import HUB, Endpoint, RegistrySettings, read_settings


def hosts(settings: RegistrySettings, registry: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.host, one.schemes) for one in settings.endpoints(registry)]


def test_the_registry_itself_with_tls() -> None:
    assert hosts(RegistrySettings(), "quay.example") == [("quay.example", ("https",))]


def test_docker_hub_has_another_host() -> None:
    [endpoint] = RegistrySettings().endpoints(HUB)
    assert endpoint.host.endswith(HUB)
    assert endpoint.host != HUB


@pytest.mark.parametrize("host", ["localhost:5000", "localhost", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"])
def test_plain_http_on_the_loopback_alone(host: str) -> None:
    assert hosts(RegistrySettings(), host) == [(host, ("https", "http"))]


@pytest.mark.parametrize("host", ["10.0.0.1:5000", "localhost.example", "127.0.0.1.example:5000"])
def test_no_plain_http_elsewhere(host: str) -> None:
    assert hosts(RegistrySettings(), host) == [(host, ("https",))]


def test_insecure_registries() -> None:
    settings = read_settings({"insecure_registries": ["10.0.0.1:5000"]})
    assert settings.endpoints("10.0.0.1:5000") == [
        Endpoint(host="10.0.0.1:5000", schemes=("https", "http"), verify=False)
    ]
    assert settings.endpoints("10.0.0.2:5000")[0].verify


def test_mirrors_in_their_order() -> None:
    settings = read_settings(
        {"registry_mirrors": {HUB: ["https://a.example/"], "ghcr.example": "http://b.example:5000"}}
    )
    assert hosts(settings, HUB)[0] == ("a.example", ("https",))
    assert hosts(settings, "ghcr.example") == [("b.example:5000", ("http",)), ("ghcr.example", ("https",))]
    assert settings.endpoints(HUB)[0].mirror_of == HUB
    more = settings.with_mirrors(["https://c.example", "ghcr.example=https://d.example"])
    assert [host for host, _ in hosts(more, HUB)][:2] == ["c.example", "a.example"]
    assert [host for host, _ in hosts(more, "ghcr.example")][:2] == ["d.example", "b.example:5000"]


def test_a_list_of_mirrors_is_for_docker_hub() -> None:
    settings = read_settings({"registry_mirrors": ["https://a.example"]})
    assert hosts(settings, HUB)[0] == ("a.example", ("https",))


def test_all_problems_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        read_settings({"registry_mirrors": {HUB: ["ftp://x"], "b": 3}, "insecure_registries": "x"})
    details = str(caught.value.details)
    assert "ftp://x" in details
    assert "registry_mirrors, b" in details
    assert "insecure_registries" in details
    with pytest.raises(UsageError):
        read_settings({"registry_mirrors": 3})


@pytest.mark.parametrize("text", ["", "mirror.example", "https://", "docker.io=", "https://a.example/path"])
def test_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        RegistrySettings().with_mirrors([text])
