# SPDX-License-Identifier: Apache-2.0
"""Saving and loading against a monitor that says what QEMU 10.0 was recorded to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cove.errors import MachineError, StorageError
from cove.vmm import migration
from cove.vmm.base import Runtime
from tests.unit.vmm.test_qmp import GREETING, read_request


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(
        folder=tmp_path, net_socket=tmp_path / "net", qmp_socket=tmp_path / "qmp", uml_dir=tmp_path,
        console_log=tmp_path / "c",
        memory_dir=tmp_path, memory_file=tmp_path / "memory",
    )  # fmt: skip


@asynccontextmanager
async def monitor(
    path: Path,
    got: list[tuple[str, Any]],
    *,
    end: str = "completed",
    reason: str = "Unable to write to file: No space left on device",
    runs: bool = True,
    state: str = "paused",
    disk_errors: Sequence[dict[str, object]] = (),
) -> AsyncIterator[None]:
    """A monitor whose migrations end as told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(**message: object) -> None:
            writer.write(json.dumps(message).encode() + b"\r\n")

        say(**GREETING)
        while request := await read_request(reader):
            got.append((request["execute"], request.get("arguments")))
            answer: object = {}
            if request["execute"] == "query-migrate":
                answer = {"status": end, "error-desc": reason}
            if request["execute"] == "query-status":
                answer = {"status": "running" if runs else state, "running": runs}
            say(**{"return": answer, "id": request.get("id")})
            if request["execute"] == "query-status":
                for error in disk_errors:
                    say(event="BLOCK_IO_ERROR", data=error, timestamp={"seconds": 1, "microseconds": 2})
            if request["execute"].startswith("migrate") and "uri" in request["arguments"]:
                for status in ("setup", "active", end):
                    say(
                        event="MIGRATION",
                        data={"status": status},
                        timestamp={"seconds": 1, "microseconds": 2},
                    )
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    async with server:
        yield


def capabilities(got: list[tuple[str, Any]]) -> dict[str, bool]:
    (arguments,) = [arguments for name, arguments in got if name == "migrate-set-capabilities"]
    return {each["capability"]: each["state"] for each in arguments["capabilities"]}


async def test_save_pauses_first_and_leaves_our_memory_out(runtime: Runtime, tmp_path: Path) -> None:
    got: list[tuple[str, Any]] = []
    async with monitor(runtime.qmp_socket, got):
        await migration.save(runtime, tmp_path / "devices")
    assert [name for name, _ in got] == ["qmp_capabilities", "stop", "migrate-set-capabilities", "migrate"]
    assert got[-1][1] == {"uri": f"file:{tmp_path}/devices"}
    assert capabilities(got) == {
        "events": True, "late-block-activate": True, "x-ignore-shared": True, "mapped-ram": False,
    }  # fmt: skip


async def test_memory_of_qemu_is_written(runtime: Runtime, tmp_path: Path) -> None:
    got: list[tuple[str, Any]] = []
    async with monitor(runtime.qmp_socket, got):
        await migration.load(replace(runtime, incoming_memory=True), tmp_path / "devices")
    assert [name for name, _ in got] == ["qmp_capabilities", "migrate-set-capabilities", "migrate-incoming"]
    assert (capabilities(got)["x-ignore-shared"], capabilities(got)["mapped-ram"]) == (False, True)


@pytest.mark.parametrize("change", [{"memory_file": None}, {"memory_private": True}])
async def test_memory_that_no_file_holds_is_written(
    runtime: Runtime, tmp_path: Path, change: dict[str, Any]
) -> None:
    got: list[tuple[str, Any]] = []
    async with monitor(runtime.qmp_socket, got):
        await migration.save(replace(runtime, **change), tmp_path / "devices")
    assert (capabilities(got)["x-ignore-shared"], capabilities(got)["mapped-ram"]) == (False, True)


async def test_failures_carry_qemus_reason(runtime: Runtime, tmp_path: Path) -> None:
    async with monitor(runtime.qmp_socket, [], end="failed"):
        with pytest.raises(
            StorageError, match=r"QEMU could not save the guest: .*: No space left on device"
        ) as full:
            await migration.save(runtime, tmp_path / "devices")
        assert "are left on the disk at /" in (full.value.details or "")
    async with monitor(runtime.qmp_socket, [], end="failed", reason="bad section"):
        with pytest.raises(MachineError, match="QEMU could not load the guest: bad section"):
            await migration.load(runtime, tmp_path / "devices")


async def test_go_on_is_not_believed_without_looking(runtime: Runtime) -> None:
    async with monitor(runtime.qmp_socket, []):
        await migration.go_on(runtime)
    async with monitor(runtime.qmp_socket, [], runs=False):
        with pytest.raises(MachineError, match="did not go on"):
            await migration.go_on(runtime)


async def test_full_disk_is_told_by_an_event(runtime: Runtime) -> None:
    async with monitor(runtime.qmp_socket, [], state="io-error", runs=False):
        await asyncio.wait_for(migration.stalled(runtime.qmp_socket), 10)  # it was so before we looked
        await migration.go_on(runtime)  # and may be so again at once
    errors = [{"action": "report", "nospace": False}, {"action": "stop", "nospace": True}]
    for told, comes in ((errors[:1], False), (errors, True)):
        async with monitor(runtime.qmp_socket, [], disk_errors=told):
            waiting = asyncio.create_task(migration.stalled(runtime.qmp_socket))
            done, _ = await asyncio.wait({waiting}, timeout=10 if comes else 0.3)
            assert bool(done) == comes
            waiting.cancel()
