# SPDX-License-Identifier: Apache-2.0
"""A small client of the Docker Engine API over its unix socket: what Cove itself needs, and no more.

Users have docker's own CLI, docker-py and the rest. Source of the API: Docker Engine API v1.45.
Standard library only, because ``cove version`` and ``cove run`` pass here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

from cove.errors import CoveError, EngineError
from cove.system.unixhttp import UnixConnection


class Engine:
    """One Docker Engine.

    Args:
        path: its unix socket.
        deadline: seconds each read or write may take.
    """

    def __init__(self, path: Path, *, deadline: float = 30.0) -> None:
        self._path = path
        self._deadline = deadline

    def get(self, route: str, **query: str) -> Any:
        """GET a route; returns the reply's JSON.

        Raises:
            EngineError: the engine refused, or cannot be reached.
        """
        return _json(self._request("GET", route, query))

    def post(self, route: str, body: object = None, **query: str) -> Any:
        """POST JSON to a route; returns the reply's JSON, or None.

        Raises:
            EngineError: the engine refused, or cannot be reached.
        """
        data = json.dumps(body).encode() if body is not None else b""
        answer = self._request("POST", route, query, data, {"Content-Type": "application/json"})
        return _json(answer)

    def delete(self, route: str, **query: str) -> None:
        """DELETE a route.

        Raises:
            EngineError: the engine refused, or cannot be reached.
        """
        self._request("DELETE", route, query)

    def has_image(self, reference: str, architecture: str | None = None) -> bool:
        """Whether the engine has an image of this name, and for this architecture ("arm64") if one is given."""
        filters = json.dumps({"reference": [reference]})
        found = self.get("/images/json", filters=filters)
        if not found or architecture is None:
            return bool(found)
        return bool(self.get(f"/images/{found[0]['Id']}/json")["Architecture"] == architecture)

    def load(self, archive: IO[bytes]) -> None:
        """Load an image archive (``docker save`` or OCI layout, as a tar).

        Raises:
            EngineError: the engine refused it.
        """
        headers = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
        answer = self._request("POST", "/images/load", {"quiet": "1"}, archive, headers)
        for line in answer.splitlines():
            said = _json(line)
            if isinstance(said, dict) and said.get("error"):
                raise EngineError(f"the engine did not load an image: {said['error']}")

    def save(self, reference: str, into: IO[bytes]) -> None:
        """Write an image as an archive that :meth:`load` takes.

        Raises:
            EngineError: the engine refused, or went away in the middle.
        """
        connection = UnixConnection(self._path, timeout=self._deadline)
        route = f"/images/{reference}/get"
        try:
            connection.request("GET", quote(route))
            reply = connection.getresponse()
            if reply.status >= 400:
                raise _refusal("GET", route, reply.status, reply.read())
            shutil.copyfileobj(reply, into, 1 << 20)
            if reply.length:  # http.client tells of it only where all is read at once
                raise ConnectionResetError(f"the last {reply.length} bytes did not come")
        except (OSError, HTTPException) as error:
            raise EngineError(f"the engine at {self._path} does not answer: {error}") from error
        finally:
            connection.close()

    def logs(self, container: str, *, tail: int) -> str:
        """The last lines that a container without a terminal printed, stdout and stderr together."""
        query = {"stdout": "1", "stderr": "1", "tail": str(tail)}
        data = self._request("GET", f"/containers/{container}/logs", query)
        return b"".join(_frames(data)).decode(errors="replace")

    def _request(
        self,
        method: str,
        route: str,
        query: Mapping[str, str],
        body: bytes | IO[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        connection = UnixConnection(self._path, timeout=self._deadline)
        url = quote(route) + ("?" + urlencode(query) if query else "")
        chunked = bool(headers and "Transfer-Encoding" in headers)
        try:
            connection.request(method, url, body, dict(headers or {}), encode_chunked=chunked)
            reply = connection.getresponse()
            data = reply.read()
        except (OSError, HTTPException) as error:
            raise EngineError(f"the engine at {self._path} does not answer: {error}") from error
        finally:
            connection.close()
        if reply.status >= 400:
            raise _refusal(method, route, reply.status, data)
        return data


def _json(data: bytes) -> Any:
    try:
        return json.loads(data) if data.strip() else None
    except ValueError as error:
        raise EngineError(
            "the engine answered with no JSON", details=data[:200].decode(errors="replace")
        ) from error


def _frames(data: bytes) -> Iterator[bytes]:
    """The payloads of a multiplexed stream: 1 byte stream, 3 bytes zero, 4 bytes length, payload."""
    position = 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8])
        yield data[position + 8 : position + 8 + length]
        position += 8 + length


def _refusal(method: str, route: str, status: int, data: bytes) -> CoveError:
    try:
        message = json.loads(data)["message"]
    except (ValueError, KeyError, TypeError):
        message = data.decode(errors="replace")
    return EngineError(f"the engine refused {method} {route}: {message}", details=f"HTTP status {status}")
