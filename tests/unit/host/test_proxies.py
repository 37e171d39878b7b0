# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.host.proxies import (
    Proxies,
    address_of,
    for_guest,
    from_environment,
    reachable,
    variables,
    without_secret,
)


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ({}, Proxies()),
        ({"no_proxy": "x"}, Proxies(no="x")),
        ({"http_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2", "NO_PROXY": "c,d"},
         Proxies(http="http://a:1", https="http://b:2", no="c,d")),
        ({"http_proxy": "http://lower:1", "HTTP_PROXY": "http://upper:1"}, Proxies(http="http://upper:1")),
        ({"HTTP_PROXY": "", "http_proxy": "http://a:1"}, Proxies(http="http://a:1")),
        ({"ALL_PROXY": "socks5://a:1"}, Proxies()),  # Go's programs do not know it
    ],
)  # fmt: skip
def test_environment(env: dict[str, str], found: Proxies) -> None:
    assert from_environment(env) == found


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:3128", "http://host.docker.internal:3128"),
        ("http://localhost:3128/", "http://host.docker.internal:3128/"),
        ("http://LocalHost", "http://host.docker.internal"),
        ("127.0.0.1:3128", "host.docker.internal:3128"),
        ("http://[::1]:8080", "http://host.docker.internal:8080"),
        ("http://0.0.0.0:8080", "http://host.docker.internal:8080"),
        ("socks5://127.0.0.2:1080", "socks5://host.docker.internal:1080"),
        ("http://me:p%40ss:w@127.0.0.1:1/x?y", "http://me:p%40ss:w@host.docker.internal:1/x?y"),
        ("http://proxy.corp:3128", "http://proxy.corp:3128"),
        ("http://127.0.0.1.corp:3128", "http://127.0.0.1.corp:3128"),
        ("http://10.0.0.1:3128", "http://10.0.0.1:3128"),
        ("http://[broken", "http://[broken"),
        ("http://127.0.0.1:nonsense", "http://127.0.0.1:nonsense"),
        ("", ""),
    ],
)
def test_a_proxy_on_the_loopback_is_reached_by_another_name(url: str, found: str) -> None:
    assert reachable(url) == found


@given(st.text(max_size=60))
def test_nothing_breaks_the_reading(url: str) -> None:
    assert reachable(reachable(url)) == reachable(url)


def test_names_that_no_proxy_knows_are_reached_directly() -> None:
    found = for_guest(Proxies(http="http://localhost:1", no=" a , ,.docker.internal,b"))
    assert found == Proxies(http="http://host.docker.internal:1", no="a,.docker.internal,b")
    assert for_guest(Proxies(no="a")) == Proxies()


def test_variables_in_both_cases() -> None:
    assert variables(Proxies(http="x", no="y")) == {
        "HTTP_PROXY": "x", "http_proxy": "x", "NO_PROXY": "y", "no_proxy": "y",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("http://proxy:3128", ("proxy", 3128), "http://proxy:3128"),
        ("proxy", ("proxy", 80), "proxy"),
        ("https://me:s3@cret@proxy/", ("proxy", 443), "https://proxy/"),
        ("socks5://[::1]:9", ("::1", 9), "socks5://[::1]:9"),
        ("me:s3cret@proxy:1", ("proxy", 1), "proxy:1"),
        ("ftp://proxy", None, "ftp://proxy"),
        ("http://proxy:many", None, "http://proxy:many"),
        ("http://a b", None, "http://a b"),
        ("http://", None, "http://"),
    ],
)
def test_where_a_proxy_is(url: str, address: tuple[str, int] | None, shown: str) -> None:
    assert address_of(url) == address
    assert without_secret(url) == shown
