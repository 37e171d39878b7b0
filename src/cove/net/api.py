# SPDX-License-Identifier: Apache-2.0
"""gvproxy's control API: HTTP on a unix socket, a fresh connection per request."""

from __future__ import annotations

import asyncio
import json
import os
from http.client import HTTPException
from pathlib import Path

from cove.errors import NetworkError
from cove.net.forwards import Forward, refusal, to_unix
from cove.system.unixhttp import UnixConnection

API_DEADLINE = 5.0
"""Seconds for one request; all of them are answered from memory."""


class GvproxyApi:
    """The requests that Cove makes.

    Args:
        socket: of the control API.
        deadline: seconds for one request.
    """

    def __init__(self, socket: Path, *, deadline: float = API_DEADLINE) -> None:
        self._socket = socket
        self._deadline = deadline

    async def expose(self, forward: Forward) -> None:
        """Listen on the host. A unix socket that exists at that path is replaced.

        Raises:
            ConflictError: the address is taken.
            NetworkError: it cannot be opened, or gvproxy does not answer.
        """
        await self._post("expose", forward.local, forward.to_wire())

    async def unexpose(self, forward: Forward) -> None:
        """Listen no more; connections that were made stay.

        Raises:
            NotFoundError: it is not forwarded.
            NetworkError: gvproxy does not answer.
        """
        await self._post("unexpose", forward.local, {"local": forward.local, "protocol": forward.protocol})

    async def expose_unix(self, path: Path, guest_port: int) -> None:
        """Give a TCP port of the guest a unix socket on the host, for its owner only (0600).

        The folder has to be private: gvproxy makes the socket with the mode of its umask first.

        Raises:
            ConflictError: the address is taken.
            NetworkError: it cannot be opened, or gvproxy does not answer.
        """
        await self.expose(to_unix(path, guest_port))
        os.chmod(path, 0o600)  # noqa: PTH101 - one quick call, not worth a thread

    async def forwards(self) -> tuple[Forward, ...]:
        """All that is forwarded now.

        Raises:
            NetworkError: gvproxy does not answer, or not with a list of forwards.
        """
        status, found = await self._request("GET", "all", None)
        if status != 200 or not isinstance(found, list):
            raise NetworkError(f"gvproxy does not list its forwards ({status})", details=str(found))
        return tuple(Forward.from_wire(entry) for entry in found)

    async def _post(self, what: str, local: str, body: dict[str, str]) -> None:
        status, text = await self._request("POST", what, body)
        if status != 200:
            raise refusal(local, status, str(text))

    async def _request(self, method: str, what: str, body: dict[str, str] | None) -> tuple[int, object]:
        route = f"/services/forwarder/{what}"
        try:
            status, text = await asyncio.to_thread(self._exchange, method, route, body)
            # it calls its JSON text/plain
            return status, json.loads(text) if method == "GET" and status == 200 else text
        except (OSError, HTTPException, ValueError) as error:
            raise NetworkError(
                f"gvproxy's control API does not answer: {str(error) or type(error).__name__}",
                details=f"{method} {route} at {self._socket}",
            ) from error

    def _exchange(self, method: str, route: str, body: dict[str, str] | None) -> tuple[int, str]:
        connection = UnixConnection(self._socket, timeout=self._deadline)
        try:
            connection.request(method, route, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()
