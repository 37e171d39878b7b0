# SPDX-License-Identifier: Apache-2.0
"""QEMU's monitor, against a server that speaks what QEMU 7.2 was recorded to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cove.errors import MachineError
from cove.vmm.qmp import qmp


async def read_request(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    text = b""
    while data := await reader.read(1):
        text += data
        try:
            request: dict[str, Any] = json.loads(text)
        except ValueError:
            continue
        return request
    return None


GREETING = {
    "QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}
}


@asynccontextmanager
async def monitor(path: Path, got: list[object]) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(GREETING).encode() + b"\r\n")
        # neither side ends its requests with a line end that could be waited for
        while request := await read_request(reader):
            got.append((request["execute"], request.get("arguments")))
            answer: dict[str, object] = {"return": {}, "id": request.get("id")}
            if request["execute"] == "fly":
                problem = {"class": "CommandNotFound", "desc": "The command fly has not been found"}
                answer = {"error": problem, "id": request.get("id")}
            writer.write(json.dumps(answer).encode() + b"\r\n")
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    async with server:
        yield


async def test_a_command(tmp_path: Path) -> None:
    got: list[object] = []
    async with monitor(tmp_path / "qmp", got):
        assert await qmp(tmp_path / "qmp", "send-key", {"keys": []}) == {}
    assert got == [("qmp_capabilities", {}), ("send-key", {"keys": []})]


async def test_a_refusal(tmp_path: Path) -> None:
    async with monitor(tmp_path / "qmp", []):
        with pytest.raises(MachineError, match="QEMU refused fly"):
            await qmp(tmp_path / "qmp", "fly")


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"did not answer stop within"):
        await qmp(tmp_path / "absent", "stop", deadline=0.1)


async def test_qemu_that_is_just_starting_is_waited_for(tmp_path: Path) -> None:
    asking = asyncio.create_task(qmp(tmp_path / "qmp", "stop"))
    await asyncio.sleep(0.05)
    async with monitor(tmp_path / "qmp", []):
        assert await asking == {}
