# SPDX-License-Identifier: Apache-2.0
"""The keeper of names between a guest that is the test and a resolver with files of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from cove.guest.relay import Tunnel
from cove.host.names.resolver import Resolver
from cove.machine import names as module
from cove.machine.names import NameKeeper
from tests.unit.host.names.test_message import query
from tests.unit.machine.world import short_home

HOST = IPv4Address("192.168.127.254")
WAIT = 20.0


class Guest:
    """The guest's ends of both connections."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "resolv.conf"
        self.opened: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.told: asyncio.Queue[object] = asyncio.Queue()
        self.keeper = NameKeeper(
            Tunnel(folder / "relay.sock"), folder / "agent.sock", Resolver(HOST, resolv_conf=self.conf)
        )

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(await self.length(reader)) == b"names"
        self.opened.put_nowait((reader, writer))

    async def agent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(1) == b"\1"
        request = json.loads(await reader.readexactly(await self.length(reader)))
        self.told.put_nowait((request["op"], request["args"]))
        writer.write(b"\2\0\0\0\2{}")
        await writer.drain()
        writer.close()

    @staticmethod
    async def length(reader: asyncio.StreamReader) -> int:
        return int.from_bytes(await reader.readexactly(4))


@asynccontextmanager
async def running(conf: str = "") -> AsyncIterator[Guest]:
    with short_home() as home:
        guest = Guest(home.root)
        guest.conf.write_text(conf)
        relay = await asyncio.start_unix_server(guest.relay, guest.folder / "relay.sock")
        agent = await asyncio.start_unix_server(guest.agent, guest.folder / "agent.sock")
        task = asyncio.create_task(guest.keeper.run())
        try:
            async with asyncio.timeout(WAIT):
                yield guest
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for server in (relay, agent):
                server.close()
                await server.wait_closed()


async def ask(guest: Guest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> bytes:
    question = b"\0\0\0\x2a" + b"\0" + query(name)
    writer.write(len(question).to_bytes(4) + question)
    await writer.drain()
    return await reader.readexactly(await guest.length(reader))


async def test_questions_are_answered() -> None:
    async with running() as guest:
        reader, writer = await guest.opened.get()
        answer = await ask(guest, reader, writer, "host.docker.internal")
        assert answer.startswith(b"\0\0\0\x2a\0\7")
        assert answer.endswith(HOST.packed)
        writer.close()


async def test_the_guest_is_asked_again_when_its_agent_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.01)
    async with running() as guest:
        _, writer = await guest.opened.get()
        writer.close()
        reader, writer = await guest.opened.get()
        assert await ask(guest, reader, writer, "localhost")
        writer.close()


async def test_search_domains_are_told_at_first_and_when_they_change() -> None:
    async with running("search a.example\n") as guest:
        reader, writer = await guest.opened.get()
        assert await guest.told.get() == ("search", {"domains": ["a.example"]})
        await ask(guest, reader, writer, "localhost")
        guest.conf.write_text("search b.example c.example\n")
        await ask(guest, reader, writer, "localhost")
        assert await guest.told.get() == ("search", {"domains": ["b.example", "c.example"]})
        guest.conf.write_text("nameserver 127.0.0.1\n")
        await ask(guest, reader, writer, "localhost")
        assert await guest.told.get() == ("search", {"domains": []})
        assert guest.told.empty()
        writer.close()
