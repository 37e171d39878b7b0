# SPDX-License-Identifier: Apache-2.0
"""The control API's client, against a server that gives the replies recorded from gvproxy 0.8.1."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from cove.errors import ConflictError, NetworkError, NotFoundError
from cove.net.api import GvproxyApi
from cove.net.forwards import Forward, to_port


class Recorded:
    """Answers as gvproxy does: an empty 200, or 500 with a sentence; JSON as text/plain."""

    def __init__(self) -> None:
        self.open: dict[str, dict[str, str]] = {}

    async def expose(self, request: web.Request) -> web.Response:
        entry = await request.json()
        if entry["local"] in self.open:
            problem = f"listen tcp {entry['local']}: bind: address already in use\n"
            return web.Response(status=500, text=problem)
        self.open[entry["local"]] = entry
        if entry["protocol"] == "unix":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(entry["local"])
        return web.Response()

    async def unexpose(self, request: web.Request) -> web.Response:
        if self.open.pop((await request.json())["local"], None) is None:
            return web.Response(status=500, text="proxy not found\n")
        return web.Response()

    async def all(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self.open.values()), content_type="text/plain")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[GvproxyApi]:
    recorded = Recorded()
    application = web.Application()
    application.router.add_post("/services/forwarder/expose", recorded.expose)
    application.router.add_post("/services/forwarder/unexpose", recorded.unexpose)
    application.router.add_get("/services/forwarder/all", recorded.all)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "gv.sock")).start()
    yield GvproxyApi(tmp_path / "gv.sock")
    await runner.cleanup()


async def test_expose_list_unexpose(api: GvproxyApi) -> None:
    forward = to_port(80, host_port=8080)
    await api.expose(forward)
    assert await api.forwards() == (forward,)
    with pytest.raises(ConflictError, match=r"127\.0\.0\.1:8080 is taken"):
        await api.expose(forward)
    await api.unexpose(forward)
    with pytest.raises(NotFoundError):
        await api.unexpose(forward)
    assert await api.forwards() == ()


async def test_a_unix_socket_is_for_its_owner_only(api: GvproxyApi, tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    await api.expose_unix(path, 1025)
    assert path.stat().st_mode & 0o777 == 0o600
    assert await api.forwards() == (Forward(local=str(path), remote="192.168.127.3:1025", protocol="unix"),)


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="does not answer"):
        await GvproxyApi(tmp_path / "absent").forwards()
