# SPDX-License-Identifier: Apache-2.0
"""One holder per port, with real sockets."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator

import pytest

from cove.host.port_table import PortTable
from cove.host.ports import HostPort, Target
from tests.unit.host.test_forward import Direct, free

TARGET = Target(protocol="tcp", address="192.0.2.1", port=80)
OTHER = Target(protocol="tcp", address="192.0.2.2", port=80)


async def nowhere(_target: Target) -> Direct:
    raise OSError(errno.EHOSTUNREACH, "nobody dials here")


@pytest.fixture
async def table() -> AsyncIterator[PortTable]:
    found = PortTable(nowhere)
    yield found
    found.close()


def is_free(port: HostPort) -> bool:
    try:
        socket.create_server((port.address, port.port)).close()
    except OSError:
        return False
    return True


async def test_taken_and_settled(table: PortTable) -> None:
    one, two = free(), free()
    assert table.take("a", [one, two]) is None
    assert table.take("a", [one]) is None
    assert table.describe({}) == []  # nothing is open yet
    assert not is_free(one)
    assert table.settle("a", {one: TARGET}) == {}
    assert is_free(two)
    assert table.settle("a", {one: OTHER}) == {}
    assert table.describe({"a": "web"}) == [
        {
            "container": "web",
            "protocol": "tcp",
            "address": "127.0.0.1",
            "port": one.port,
            "container_port": 80,
            "error": None,
        }
    ]
    assert table.settle("a", {}) == {}
    assert is_free(one)


async def test_all_or_nothing_is_taken(table: PortTable) -> None:
    mine, theirs = sorted((free(), free()))
    with socket.create_server((theirs.address, theirs.port)):
        failed = table.take("a", [mine, theirs])
    assert failed is not None
    assert failed[0] == theirs
    assert failed[1].errno == errno.EADDRINUSE
    assert is_free(mine)
    assert table.holders() == set()


async def test_what_cannot_be_had_is_remembered(table: PortTable) -> None:
    port = free()
    with socket.create_server((port.address, port.port)):
        assert list(table.settle("a", {port: TARGET})) == [port]
    assert table.holders() == {"a"}
    assert [each["error"] for each in table.describe({})] == ["Address already in use"]
    assert table.settle("a", {port: TARGET}) == {}
    assert [each["error"] for each in table.describe({})] == [None]


@pytest.mark.parametrize(
    ("address", "other", "excluded"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "::1", False),
        ("::", "::1", True),
    ],
)
async def test_who_is_in_the_way(table: PortTable, address: str, other: str, excluded: bool) -> None:
    port = HostPort(protocol="tcp", address=address, port=free().port)
    table.take("a", [port])
    wanted = HostPort(protocol="tcp", address=other, port=port.port)
    assert table.holder(wanted) == ("a" if excluded else None)
    assert table.holder(HostPort(protocol="udp", address=address, port=port.port)) is None
