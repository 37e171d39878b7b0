# SPDX-License-Identifier: Apache-2.0
"""The supervisor's HTTP API, on the machine's unix socket: for the CLI, the SDK and what comes later.

GET  /v1/status     how the machine is
GET  /v1/events     the events of its start as JSON lines, from the first to the last
POST /v1/stop       {"deadline": seconds}: stop it cleanly; answers when it is stopped
POST /v1/suspend    write its guest to the disk; answers when it is there and nothing runs any more
"""

from __future__ import annotations

import json
import math
from typing import Any

from aiohttp import web

from cove.errors import CoveError, UsageError
from cove.machine.supervisor import Supervisor


def application(supervisor: Supervisor) -> web.Application:
    """The API of one supervisor."""
    app = web.Application(middlewares=[_errors])

    async def status(_request: web.Request) -> web.Response:
        return web.json_response(supervisor.record.to_dict())

    async def events(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
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

    async def suspend(_request: web.Request) -> web.Response:
        await supervisor.suspend()
        return web.json_response(supervisor.record.to_dict())

    app.router.add_get("/v1/status", status)
    app.router.add_get("/v1/events", events)
    app.router.add_post("/v1/stop", stop)
    app.router.add_post("/v1/suspend", suspend)
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
