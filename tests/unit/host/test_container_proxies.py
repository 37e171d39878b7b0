# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.host.container_proxies import amended_config, amended_creation, of_the_loopback
from cove.host.proxies import Proxies

GATE = "http://host.docker.internal:3128"
PROXIES = Proxies(http=GATE, no="x")
LOCAL = {
    "proxies": {
        "default": {"httpProxy": "http://127.0.0.1:1", "noProxy": "127.0.0.1"},
        "tcp://h": {"allProxy": "socks5://localhost:2"},
    }
}
KNOWN = {
    "http://127.0.0.1:1": "http://host.docker.internal:1",
    "socks5://localhost:2": "socks5://host.docker.internal:2",
}


def env_of(body: bytes) -> list[str]:
    found: list[str] = json.loads(body)["Env"]
    return found


def test_a_container_gets_the_proxies() -> None:
    body = json.dumps({"Image": "x", "Env": ["A=1"], "HostConfig": {"Memory": 1 << 60}}).encode()
    found = amended_creation(body, PROXIES, {})
    assert env_of(found) == ["A=1", f"HTTP_PROXY={GATE}", f"http_proxy={GATE}", "NO_PROXY=x", "no_proxy=x"]
    assert {**json.loads(found), "Env": ["A=1"]} == json.loads(body)
    assert len(env_of(amended_creation(b'{"Image":"x","Env":null}', PROXIES, {}))) == 4


def test_what_is_set_counts() -> None:
    body = json.dumps({"Env": ["http_proxy=", "NO_PROXY"]}).encode()
    assert amended_creation(body, PROXIES, {}) is body


def test_what_dockers_cli_took_from_its_configuration_is_put_right() -> None:
    known = of_the_loopback(json.dumps(LOCAL))
    assert known == KNOWN
    env = ["HTTP_PROXY=http://127.0.0.1:1", "all_proxy=socks5://localhost:2", "OTHER=http://127.0.0.1:1",
           "https_proxy=http://127.0.0.1:8080", "NO_PROXY=127.0.0.1"]  # fmt: skip
    assert env_of(amended_creation(json.dumps({"Env": env}).encode(), Proxies(), known)) == [
        "HTTP_PROXY=http://host.docker.internal:1",
        "all_proxy=socks5://host.docker.internal:2",
        "OTHER=http://127.0.0.1:1",  # no proxy
        "https_proxy=http://127.0.0.1:8080",  # the container's own, perhaps
        "NO_PROXY=127.0.0.1",
    ]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"no json", b'{"Env": 3}', b'{"Env": [3]}', b'{"Env": "A=1"}', b"\xff"]
)
def test_what_is_not_understood_is_left_to_the_engine(body: bytes) -> None:
    assert amended_creation(body, PROXIES, KNOWN) == body


def test_nothing_to_add_leaves_every_byte() -> None:
    body = b'{ "Env" : ["A=1"] , "x":1.50 }'
    assert amended_creation(body, Proxies(), KNOWN) is body


@given(st.text())
def test_nothing_breaks_the_reading_of_a_configuration(text: str) -> None:
    of_the_loopback(text)
    amended_config(text, PROXIES)


@pytest.mark.parametrize(
    ("config", "proxies", "found"),
    [
        (None, Proxies(), None),
        ({"auths": {}}, Proxies(), None),
        ({"proxies": {"default": {"httpProxy": "http://p:1"}}}, PROXIES, None),
        (None, PROXIES, {"proxies": {"default": {"httpProxy": GATE, "noProxy": "x"}}}),
        ({"auths": {"r": {}}, "proxies": {}}, PROXIES,
         {"auths": {"r": {}}, "proxies": {"default": {"httpProxy": GATE, "noProxy": "x"}}}),
        (LOCAL, PROXIES, {"proxies": {
            "default": {"httpProxy": "http://host.docker.internal:1", "noProxy": "127.0.0.1"},
            "tcp://h": {"allProxy": "socks5://host.docker.internal:2"},
        }}),
        ({"proxies": 3}, Proxies(), None),
    ],
)  # fmt: skip
def test_configurations(config: Any, proxies: Proxies, found: Any) -> None:
    amended = amended_config(None if config is None else json.dumps(config), proxies)
    assert (None if amended is None else json.loads(amended)) == found
