# SPDX-License-Identifier: Apache-2.0
"""The guest's agent as far as suspensions need it: takes any request, and notes it. The real one would freeze
the disk that the tests run on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REQUEST, REPLY, ERROR = 1, 2, 3


@dataclass
class AgentStandIn:
    """What was asked, in order; and what to refuse."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: tuple[str, ...] = ()
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def ops(self) -> list[str]:
        return [op for op, _ in self.asked]

    async def heard(self, op: str) -> None:
        """Wait until it was asked."""
        async with self.news:
            await self.news.wait_for(lambda: op in self.ops)

    @asynccontextmanager
    async def at(self, path: Path) -> AsyncIterator[AgentStandIn]:
        path.parent.mkdir(parents=True, exist_ok=True)
        server = await asyncio.start_unix_server(self._serve, path)
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(5)
        assert head[0] == REQUEST
        request = json.loads(await reader.readexactly(int.from_bytes(head[1:])))
        self.asked.append((request["op"], request["args"]))
        async with self.news:
            self.news.notify_all()
        kind, answer = REPLY, self.answers.get(request["op"], {"ended": 0})
        if request["op"] in self.refused:
            kind, answer = ERROR, {"code": "failed", "message": f"no {request['op']}"}
        data = json.dumps(answer).encode()
        writer.write(bytes([kind]) + len(data).to_bytes(4) + data)
        await writer.drain()
        await reader.read()
        writer.close()
