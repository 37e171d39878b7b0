# SPDX-License-Identifier: Apache-2.0
"""The console: nothing is lost, nothing grows without bound, nothing blocks."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cove.vmm.console import LINE_LIMIT, Console, ConsoleLog, Lines


@given(st.lists(st.binary(max_size=30)))
def test_lines_do_not_depend_on_how_the_bytes_arrive(chunks: list[bytes]) -> None:
    piecewise, whole = Lines(), Lines()
    first = [line for chunk in chunks for line in piecewise.feed(chunk)] + piecewise.end()
    assert first == whole.feed(b"".join(chunks)) + whole.end()


def test_lines_of_a_serial_port() -> None:
    lines = Lines()
    assert lines.feed(b"one\r\ntw") == ["one"]
    assert lines.feed(b"o\n\xff\n\n") == ["two", "\ufffd", ""]
    assert lines.end() == []


def test_an_endless_line_is_cut() -> None:
    lines = Lines()
    found = [line for _ in range(100) for line in lines.feed(b"x" * 1000)] + lines.end()
    assert sum(map(len, found)) == 100_000
    assert max(map(len, found)) <= LINE_LIMIT


def test_the_log_is_private_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_text("the run before")
    log = ConsoleLog(path, limit=1000)
    for number in range(100):
        log.write(b"%099d\n" % number)
    log.close()
    older = tmp_path / "console.log.1"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size <= 1000
    assert older.stat().st_size <= 1000
    text = older.read_text() + path.read_text()
    assert text.splitlines()[-1] == f"{99:099}"
    assert "before" not in text


def test_a_log_that_cannot_be_written_is_given_up(tmp_path: Path) -> None:
    log = ConsoleLog(tmp_path / "console.log", limit=10)
    (tmp_path / "console.log.1").mkdir()  # the rotation cannot replace a folder
    log.write(b"12345678")
    log.write(b"12345678")
    log.write(b"12345678")
    log.close()


async def test_pump_reads_to_the_end(tmp_path: Path) -> None:
    read, write = os.pipe()
    seen: list[str] = []
    console = Console(ConsoleLog(tmp_path / "log"), seen.append)
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(read, "rb")
    )
    pump = asyncio.create_task(console.pump(stream))
    data = b"".join(b"line %d\n" % number for number in range(20_000)) + b"unfinished"
    await asyncio.to_thread(_write_all, write, data)
    await pump
    transport.close()
    assert len(seen) == 20_001
    assert seen[-1] == "unfinished"
    assert (tmp_path / "log").read_bytes() == data


def test_a_panic_is_remembered_over_its_trace(tmp_path: Path) -> None:
    console = Console(ConsoleLog(tmp_path / "log"), lambda _line: None)
    console.write("[ 2.3] Kernel panic - not syncing: Attempted to kill init!")
    for number in range(100):
        console.write(f"trace {number}")
    console.close()
    words = console.last_words()
    assert "Attempted to kill init" in words[0]
    assert words[-1] == "trace 99"


def _write_all(handle: int, data: bytes) -> None:
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
