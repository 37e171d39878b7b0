# SPDX-License-Identifier: Apache-2.0
"""The few requests that the supervisor itself makes of the engine, within its event loop.

Spoken in HTTP/1.0, whose answers end with their connection and are never in chunks (RFC 1945); dockerd honours that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

from cove.errors import EngineError
from cove.host.carrying import Stream

DEADLINE = 30.0
"""Seconds for one answer."""

_BROKEN = (OSError, EOFError, ValueError)
_HEAD_END = b"\r\n\r\n"


class EngineCalls:
    """One engine.

    Args:
        dial: makes a connection to it.
        deadline: seconds for one answer.
    """

    def __init__(self, dial: Callable[[], Awaitable[Stream]], *, deadline: float = DEADLINE) -> None:
        self._dial = dial
        self._deadline = deadline
        self._watching: set[Stream] = set()
        self._left = False

    async def inspect(self, container: str) -> dict[str, Any] | None:
        """What the engine says of a container (name, id or the beginning of one), or None if there is none.

        Raises:
            EngineError: it does not answer, or refuses.
        """
        status, body = await self._request("GET", f"/containers/{quote(container, safe='')}/json")
        if status == 404:
            return None
        found: dict[str, Any] = _json(status, body)
        return found

    async def running(self) -> list[str]:
        """The ids of all containers that run.

        Raises:
            EngineError: it does not answer, or refuses.
        """
        return [each["Id"] for each in _json(*await self._request("GET", "/containers/json"))]

    async def mounts(self) -> dict[str, list[str]]:
        """The running containers by name, and the folders of their host that each has mounted.

        Raises:
            EngineError: it does not answer, or refuses.
        """
        return {
            each["Names"][0].lstrip("/"): [
                mount["Source"] for mount in each.get("Mounts") or () if mount.get("Type") == "bind"
            ]
            for each in _json(*await self._request("GET", "/containers/json"))
        }

    async def stop(self, container: str) -> None:
        """End a container now, for good: its restart policy does not bring it back.

        Raises:
            EngineError: it does not answer, or refuses.
        """
        _check(*await self._request("POST", f"/containers/{container}/stop?t=0"))

    async def remove(self, container: str) -> None:
        """Remove a container with its anonymous volumes.

        Raises:
            EngineError: it does not answer, or refuses.
        """
        _check(*await self._request("DELETE", f"/containers/{container}?v=1&force=1"))

    async def events(self, **filters: list[str]) -> AsyncIterator[dict[str, Any]]:
        """What happens from now on, until the engine ends. The first item, empty, tells that it is being watched.

        Raises:
            EngineError: it does not answer, or refuses, or was left.
        """
        if self._left:
            raise EngineError("the engine is about to stop")
        query = urlencode({"filters": json.dumps(filters)})
        stream = await self._send("GET", f"/events?{query}")
        self._watching.add(stream)
        try:
            held = bytearray()
            async with asyncio.timeout(self._deadline):
                while _HEAD_END not in held:
                    held += await _some(stream)
            head, _, rest = bytes(held).partition(_HEAD_END)
            _check(_status(head), rest)
            yield {}
            held = bytearray(rest)
            while True:
                *lines, last = held.split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)
                held = bytearray(last)
                held += await _some(stream)
        except EOFError:
            return
        except _BROKEN as error:
            raise EngineError(f"the engine's events broke off: {error}") from error
        finally:
            self._watching.discard(stream)
            stream.close()

    def leave(self) -> None:
        """Watch no events any more, now and later: an engine that stops waits five seconds for those who do."""
        self._left = True
        for stream in self._watching:
            stream.close()

    async def _request(self, method: str, route: str) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(self._deadline):
                stream = await self._send(method, route)
                try:
                    answer = bytearray()
                    while data := await stream.read():
                        answer += data
                finally:
                    stream.close()
        except _BROKEN as error:
            reason = str(error) or type(error).__name__
            raise EngineError(f"the engine does not answer {method} {route}: {reason}") from error
        head, _, body = bytes(answer).partition(_HEAD_END)
        return _status(head), body

    async def _send(self, method: str, route: str) -> Stream:
        try:
            stream = await self._dial()
            await stream.write(f"{method} {route} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        except _BROKEN as error:
            raise EngineError(f"the engine cannot be reached: {error}") from error
        return stream


async def _some(stream: Stream) -> bytes:
    data = await stream.read()
    if not data:
        raise EOFError
    return data


def _status(head: bytes) -> int:
    words = head.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _check(status: int, body: bytes) -> None:
    """Raise EngineError unless the engine did it."""
    if not 200 <= status < 400:
        raise EngineError(f"the engine refused: {_message(body) or f'status {status}'}")


def _json(status: int, body: bytes) -> Any:
    _check(status, body)
    try:
        return json.loads(body)
    except ValueError as error:
        raise EngineError("the engine's answer is not JSON") from error


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()
