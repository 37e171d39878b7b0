# SPDX-License-Identifier: Apache-2.0
"""vfkit's RESTful service on a unix socket: a machine's state, and its changes.

Source: pkg/rest of vfkit 0.6.4. ``GET /vm/state`` -> ``{"state": "VirtualMachineStateRunning", ...}``;
``POST /vm/state`` with ``{"state": "Pause|Resume|Stop|HardStop"}`` -> 202; errors are ``{"error": text}``.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

from cove.errors import MachineError
from cove.system.unixhttp import UnixConnection

Change = Literal["Pause", "Resume", "Stop", "HardStop"]

_DEADLINE = 5.0


async def change_state(socket: Path, change: Change) -> None:
    """Ask for a change of the machine's state; returns when vfkit accepted it.

    Raises:
        MachineError: vfkit does not answer, or refused: it tells why.
    """
    await asyncio.to_thread(partial(_request, socket, "POST", "/vm/state", {"state": change}))


async def machine_state(socket: Path) -> str:
    """The machine's state as Virtualization.framework names it: "VirtualMachineStateRunning".

    Raises:
        MachineError: vfkit does not answer.
    """
    answer = await asyncio.to_thread(partial(_request, socket, "GET", "/vm/state"))
    return str(answer.get("state", ""))


def _request(socket: Path, method: str, route: str, body: object = None) -> dict[str, Any]:
    connection = UnixConnection(socket, timeout=_DEADLINE)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, route, json.dumps(body) if body is not None else None, headers)
        reply = connection.getresponse()
        data = reply.read()
    except (OSError, HTTPException) as error:
        raise MachineError(f"vfkit does not answer {method} {route}: {error}", details=str(socket)) from error
    finally:
        connection.close()
    try:
        answer = json.loads(data) if data.strip() else {}
    except ValueError:
        answer = {}
    answer = answer if isinstance(answer, dict) else {}
    if reply.status >= 400:
        why = answer.get("error") or data.decode(errors="replace") or f"HTTP status {reply.status}"
        raise MachineError(f"vfkit refused {body or route}: {why}")
    return answer
