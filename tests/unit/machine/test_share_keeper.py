# SPDX-License-Identifier: Apache-2.0
"""The guest is told to forget before a share daemon runs out of descriptors, and not otherwise."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cove.machine.share_keeper import FULL, ShareKeeper, count_descriptors, interval
from cove.system.process import Identity


@given(st.integers(1, 2**31))
def test_the_interval_is_never_longer_than_a_fast_guest_allows(limit: int) -> None:
    assert 0.1 <= interval(limit) <= 5
    # 24 000 look-ups a second are what we measured; below 4 000 descriptors nothing would help
    assert limit < 4000 or 24_000 * interval(limit) <= (1 - FULL) * limit


def test_descriptors_are_counted() -> None:
    before = count_descriptors(os.getpid())
    null = Path(os.devnull)
    with null.open(), null.open():
        assert count_descriptors(os.getpid()) == before + 2


def test_older_kernels_are_counted_by_name(tmp_path: Path) -> None:
    (tmp_path / "7/fd").mkdir(parents=True)
    assert count_descriptors(7, tmp_path) in (0, (tmp_path / "7/fd").stat().st_size)
    assert count_descriptors(8, tmp_path) == 0


def asked(limit: int) -> bool:
    """Whether a keeper of a daemon with our own number of descriptors asks the guest within a second."""

    async def listen() -> bool:
        came = asyncio.Event()

        def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.set()
            writer.close()

        with tempfile.TemporaryDirectory(prefix="cove-") as folder:
            socket = Path(folder, "agent.sock")
            async with await asyncio.start_unix_server(hang_up, socket):
                us = Identity.of(os.getpid())
                assert us is not None
                work = asyncio.create_task(ShareKeeper(socket, lambda: [us], limit).run())
                with suppress(TimeoutError):
                    await asyncio.wait_for(came.wait(), 1)
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        return came.is_set()

    return asyncio.run(listen())


def test_a_full_daemon_makes_the_guest_forget() -> None:
    assert asked(limit=4)


def test_a_daemon_with_room_is_left_alone() -> None:
    assert not asked(limit=20_000)
