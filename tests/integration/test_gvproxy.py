# SPDX-License-Identifier: Apache-2.0
"""The real gvproxy of the toolbox: start, forwards, refusals, end. No guest is needed."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from cove.errors import ConflictError, NotFoundError
from cove.net.forwards import to_port, to_unix
from cove.net.gvproxy import Gvproxy
from cove.spec.machine import DRIVERS
from cove.system.process import Command

pytestmark = pytest.mark.integration


class Tools(Protocol):
    def command(self, name: str) -> Command: ...


@pytest.fixture(params=DRIVERS)
async def network(request: pytest.FixtureRequest, toolbox: Tools, tmp_path: Path) -> AsyncIterator[Gvproxy]:
    folder = tmp_path / "odd % name"  # gvproxy takes its sockets as URLs
    folder.mkdir(mode=0o700)
    found = Gvproxy(
        toolbox.command("gvproxy"),
        driver=request.param,
        net_socket=folder / "net.sock",
        api_socket=folder / "gv.sock",
        log=folder / "gvproxy.log",
    )
    await found.start()
    yield found
    await found.stop()


async def test_it_forwards_nothing_at_first(network: Gvproxy) -> None:
    assert await network.api.forwards() == ()


async def test_ports_come_and_go(network: Gvproxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        forward = to_port(80, host_port=taken.getsockname()[1])
        with pytest.raises(ConflictError, match="is taken"):
            await network.api.expose(forward)
    await network.api.expose(forward)
    assert await network.api.forwards() == (forward,)
    await network.api.unexpose(forward)
    with pytest.raises(NotFoundError):
        await network.api.unexpose(forward)


async def test_unix_sockets_are_private(network: Gvproxy, tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    await network.expose_unix(path, 1025)
    assert path.stat().st_mode & 0o777 == 0o600
    assert await network.api.forwards() == (to_unix(path, 1025),)


async def test_it_ends_when_stopped(network: Gvproxy) -> None:
    identity = network.identity
    assert identity is not None
    await network.stop()
    assert not identity.alive()
    assert "gvproxy" in await network.wait()


async def test_two_side_by_side(toolbox: Tools, tmp_path: Path) -> None:
    networks = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        networks.append(
            Gvproxy(
                toolbox.command("gvproxy"),
                driver="uml",
                net_socket=folder / "net.sock",
                api_socket=folder / "gv.sock",
                log=folder / "log",
            )
        )
    try:
        for network in networks:
            await network.start()
        assert [await network.api.forwards() for network in networks] == [(), ()]
    finally:
        for network in networks:
            await network.stop()
