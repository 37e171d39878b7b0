# SPDX-License-Identifier: Apache-2.0
"""The supervisor's HTTP API, on the machine's unix socket: for the CLI, the SDK and what comes later.

GET  /v1/status     how the machine is
GET  /v1/events     the events of its start as JSON lines, from the first to the last
POST /v1/stop       {"deadline": seconds}: stop it cleanly; answers when it is stopped
POST /v1/suspend    {"asleep": bool}: write its guest to the disk; answers when it is there and nothing runs any more,
                    or nothing but we, to wake it when it is used
POST /v1/idle       {"minutes": n}: suspend it when nothing happened for so long; 0 for never
POST /v1/wake       have it go on, if it sleeps; answers when it runs
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
from contextlib import suppress
from typing import Any

from aiohttp import web

from cove.errors import CoveError, UsageError
from cove.machine.supervisor import Supervisor

_FIRST_REQUEST = 2.0
"""Seconds for the first request of a supervisor that ends: its starter has connected before it began."""


class Server:
    """The API of one supervisor, served on a socket that listens.

    Args:
        supervisor: whose.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._asked = asyncio.Event()
        app = application(supervisor)
        app.middlewares.append(self._note)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)

    async def start(self, listener: socket.socket) -> None:
        """Serve."""
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        """Answer the last requests, and end. Whoever started us learns what came of it, however soon we end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), _FIRST_REQUEST)
        await self._runner.cleanup()

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self._asked.set()
        answer: web.StreamResponse = await handler(request)
        return answer


def application(supervisor: Supervisor) -> web.Application:
    """The API of one supervisor."""
    app = web.Application(middlewares=[_errors])

    async def status(_request: web.Request) -> web.Response:
        return web.json_response(supervisor.record.to_dict())

    async def events(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        with suppress(ConnectionResetError):  # whoever asked was killed
            await reply.prepare(request)
            async for event in supervisor.journal.follow():
                await reply.write(json.dumps(event).encode() + b"\n")
            await reply.write_eof()
        return reply

    async def stop(request: web.Request) -> web.Response:
        body = await _body(request)
        deadline = body.get("deadline", 30)
        if (
            isinstance(deadline, bool)
            or not isinstance(deadline, int | float)
            or not 0 <= deadline < math.inf
        ):
            raise UsageError(f"deadline is {deadline!r}, where seconds are expected")
        supervisor.ask_to_stop(deadline)
        await supervisor.ended.wait()
        return web.json_response(supervisor.record.to_dict())

    async def suspend(request: web.Request) -> web.Response:
        body = await _body(request)
        await supervisor.suspend(asleep=body.get("asleep") is True)
        return web.json_response(supervisor.record.to_dict())

    async def wake(_request: web.Request) -> web.Response:
        await supervisor.wake()
        return web.json_response(supervisor.record.to_dict())

    async def idle(request: web.Request) -> web.Response:
        minutes = (await _body(request)).get("minutes")
        if isinstance(minutes, bool) or not isinstance(minutes, int) or minutes < 0:
            raise UsageError(f"minutes is {minutes!r}, where a whole number is expected")
        supervisor.set_idle(minutes)
        return web.json_response({})

    app.router.add_get("/v1/status", status)
    app.router.add_get("/v1/events", events)
    app.router.add_post("/v1/stop", stop)
    app.router.add_post("/v1/suspend", suspend)
    app.router.add_post("/v1/wake", wake)
    app.router.add_post("/v1/idle", idle)
    return app


async def _body(request: web.Request) -> dict[str, Any]:
    data = await request.read()
    try:
        body = json.loads(data) if data else {}
    except ValueError as error:
        raise UsageError("the request's body is not JSON") from error
    if not isinstance(body, dict):
        raise UsageError("the request's body is not a JSON object")
    return body


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
        return answer
    except CoveError as error:
        status = 400 if isinstance(error, UsageError) else 409
        return web.json_response(error.as_dict(), status=status)
