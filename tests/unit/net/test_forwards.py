# SPDX-License-Identifier: Apache-2.0
"""Forwards in the words of gvproxy's API."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import ConflictError, CoveError, NetworkError, NotFoundError
from cove.net.forwards import Forward, refusal, to_port, to_unix

FORWARDS = st.builds(
    Forward,
    local=st.text(),
    remote=st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(1, 65535)),
    protocol=st.sampled_from(["tcp", "udp", "unix"]),
)


@given(FORWARDS)
def test_round_trip(forward: Forward) -> None:
    assert Forward.from_wire(forward.to_wire()) == forward


def test_shapes() -> None:
    assert to_port(80, host_port=8080).to_wire() == {
        "local": "127.0.0.1:8080",
        "remote": "192.168.127.2:80",
        "protocol": "tcp",
    }
    assert to_unix(Path("/m/docker.sock"), 1025).to_wire() == {
        "local": "/m/docker.sock",
        "remote": "tcp://192.168.127.3:1025",
        "protocol": "unix",
    }


@pytest.mark.parametrize(
    "data", [None, {}, {"local": 1, "remote": "", "protocol": "tcp"}, {"protocol": "npipe"}]
)
def test_unknown_forms_are_refused(data: object) -> None:
    with pytest.raises(NetworkError):
        Forward.from_wire(data)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("listen tcp 127.0.0.1:80: bind: address already in use", ConflictError),
        ("proxy already running", ConflictError),
        ("proxy not found", NotFoundError),
        ("listen tcp 127.0.0.1:80: bind: permission denied", NetworkError),
        ("something else", NetworkError),
    ],
)
def test_refusals_are_typed_and_name_the_address(text: str, kind: type[CoveError]) -> None:
    error = refusal("127.0.0.1:80", 500, text + "\n")
    assert type(error) is kind
    assert "127.0.0.1:80" in error.message
    assert error.details == text
