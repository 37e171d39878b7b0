# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime as dt

import pytest

from cove.errors import UsageError
from cove.host.daemon_json import check_keys, daemon_keys
from cove.host.proxies import Proxies
from cove.spec.registries import NO_REGISTRIES, Registries


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, None),
        ({"debug": True, "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 1, "Soft": 1}}}, None),
        ([], "not a mapping"),
        ({1: 2}, "not a mapping"),
        ({"hosts": ["tcp://0.0.0.0:2375"], "iptables": False}, "Cove needs hosts, iptables for itself"),
        ({"labels": [dt.date(2026, 1, 1)]}, "cannot be written as JSON"),
    ],
)
def test_keys_of_the_user(value: object, problem: str | None) -> None:
    found = check_keys(value)
    assert found is None if problem is None else problem in (found or "")


def test_nothing_of_ones_own() -> None:
    # the lists are there: dockerd keeps those that it has if they are not
    assert daemon_keys({}, NO_REGISTRIES, Proxies()) == {"insecure-registries": [], "registry-mirrors": []}


def test_all_together() -> None:
    keys = daemon_keys(
        {"debug": True, "insecure-registries": ["a:1"]},
        Registries(insecure=("b:2", "a:1"), mirrors=("http://localhost:5000", "https://m.example")),
        Proxies(http="http://p:1", no="x"),
    )
    assert keys == {
        "debug": True,
        "insecure-registries": ["a:1", "b:2"],
        "registry-mirrors": ["http://host.docker.internal:5000", "https://m.example"],
        "proxies": {"http-proxy": "http://p:1", "no-proxy": "x"},
    }


def test_the_users_own_proxies_count() -> None:
    own = {"proxies": {"http-proxy": "http://own:1"}}
    assert daemon_keys(own, NO_REGISTRIES, Proxies(http="http://p:1"))["proxies"] == own["proxies"]


def test_a_list_that_is_none() -> None:
    with pytest.raises(UsageError, match="registry-mirrors is not a list"):
        daemon_keys({"registry-mirrors": "x"}, NO_REGISTRIES, Proxies())
