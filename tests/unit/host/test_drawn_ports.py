# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from cove.host.drawn_ports import with_numbers
from cove.host.ports import Protocol


def drawn(host: dict[str, Any], **more: Any) -> dict[str, Any]:
    numbers = itertools.count(7000)
    asked: list[tuple[Protocol, str]] = []

    def draw(protocol: Protocol, address: str) -> int:
        asked.append((protocol, address))
        return next(numbers)

    body = json.dumps({"Image": "x", **more, "HostConfig": host}).encode()
    changed = json.loads(with_numbers(body, draw))
    assert {key: changed[key] for key in ("Image", *more)} == {"Image": "x", **more}
    return {"bindings": changed["HostConfig"].get("PortBindings"), "asked": asked}


def test_ports_without_a_number_get_one() -> None:
    found = drawn(
        {
            "PortBindings": {
                "80/tcp": [{"HostIp": "", "HostPort": ""}, {"HostIp": "127.0.0.1", "HostPort": "0"}],
                "53/udp": [{}],
                "22": [{"HostPort": "2222"}],
            }
        }
    )
    assert found["bindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "7000"}, {"HostIp": "127.0.0.1", "HostPort": "7001"}],
        "53/udp": [{"HostPort": "7002"}],
        "22": [{"HostPort": "2222"}],
    }
    assert found["asked"] == [("tcp", ""), ("tcp", "127.0.0.1"), ("udp", "")]


def test_publish_all_draws_for_what_the_request_exposes() -> None:
    found = drawn({"PublishAllPorts": True}, ExposedPorts={"80/tcp": {}, "53/udp": {}})
    assert found["bindings"] == {"80/tcp": [{"HostPort": "7000"}], "53/udp": [{"HostPort": "7001"}]}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"no JSON", b"[1]", b'{"HostConfig": 5}', b'{"HostConfig": {"PortBindings": [1]}}',
        b'{"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8000-8010"}], "9/sctp": [{}]}}}',
        b'{"HostConfig": {"PortBindings": {"80/tcp": null}}}', b'{"Image":  "spaced"}',
        b'{"HostConfig": {"PortBindings": {"80/tcp": [5]}}}',
    ],
)  # fmt: skip
def test_anything_else_is_left_to_the_engine(body: bytes) -> None:
    def never(_protocol: Protocol, _address: str) -> int:
        raise AssertionError

    assert with_numbers(body, never) == body
