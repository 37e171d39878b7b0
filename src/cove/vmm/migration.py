# SPDX-License-Identifier: Apache-2.0
"""Save a guest of QEMU to a file and load it again, through QEMU's own live migration (its QMP reference, "migration").

Memory that is a file of ours need not be written (``x-ignore-shared``): the state is then a few hundred KiB. Any other
memory is written into the state as well, each page at its own place (``mapped-ram``), so that zeroes take no space.
"""

from __future__ import annotations

import os
from pathlib import Path

from qemu.qmp import QMPClient

from cove.errors import MachineError, StorageError
from cove.system.files import STORAGE_HINT
from cove.system.room import NO_ROOM, room_of
from cove.vmm.base import Runtime
from cove.vmm.qmp import monitor

SAVE_DEADLINE = 300.0
"""Seconds; a guest whose memory is written takes as long as its disk needs for that."""

LOAD_DEADLINE = 120.0
"""Seconds, from QEMU's start to the loaded guest."""

STALLED = "io-error"
"""QEMU's word for a guest that waits for its disk, whose file found no room."""

_ENDS = ("completed", "failed", "cancelled")


async def save(runtime: Runtime, target: Path) -> None:
    """Pause the guest and write it to ``target``; see :meth:`cove.vmm.base.Vm.save`."""
    async with monitor(runtime.qmp_socket, "saving the guest", deadline=SAVE_DEADLINE) as client:
        # the disks are let go of only after all is written, and all that is written is in their files then
        await client.execute("stop")
        with_memory = runtime.memory_file is None or runtime.memory_private
        await _prepare(client, with_memory=with_memory)
        await _migrate(client, "migrate", target)


async def load(runtime: Runtime, source: Path) -> None:
    """Load a guest into a QEMU that was started for that; it is paused afterwards, and its disks are not opened yet.

    Raises:
        MachineError: QEMU has ended, or cannot load it.
    """
    async with monitor(runtime.qmp_socket, "loading the guest", deadline=LOAD_DEADLINE) as client:
        await _prepare(client, with_memory=runtime.incoming_memory)
        await _migrate(client, "migrate-incoming", source)


async def _prepare(client: QMPClient, *, with_memory: bool) -> None:
    wanted = {
        "events": True,
        # nobody opens a disk for writing because a guest was only looked at
        "late-block-activate": True,
        "x-ignore-shared": not with_memory,
        "mapped-ram": with_memory,
    }
    capabilities = [{"capability": name, "state": state} for name, state in wanted.items()]
    await client.execute("migrate-set-capabilities", {"capabilities": capabilities})


async def _migrate(client: QMPClient, command: str, file: Path) -> None:
    with client.listener("MIGRATION") as changes:
        await client.execute(command, {"uri": f"file:{file}"})
        status = ""
        while status not in _ENDS:
            data = (await changes.get()).get("data")
            status = str(data.get("status")) if isinstance(data, dict) else ""
    if status != "completed":
        found = await client.execute("query-migrate")
        reason = found.get("error-desc") if isinstance(found, dict) else None
        verb = "save" if command == "migrate" else "load"
        message = f"QEMU could not {verb} the guest: {reason or status}"
        if any(os.strerror(number) in message for number in NO_ROOM):
            raise StorageError(message, details=room_of(file), hint=STORAGE_HINT)
        raise MachineError(message)


async def stalled(events: Path) -> None:
    """Wait until a write to a disk finds no room, for which QEMU stops the guest (``werror=enospc``, its default).

    Args:
        events: a monitor that nobody else uses.
    """
    async with monitor(events, "telling of a full disk", deadline=None) as client:
        with client.listener("BLOCK_IO_ERROR") as errors:
            status = await client.execute("query-status")
            if isinstance(status, dict) and status.get("status") == STALLED:
                return
            while True:
                data = (await errors.get()).get("data")
                if isinstance(data, dict) and data.get("action") == "stop":
                    return


async def go_on(runtime: Runtime) -> None:
    """Let a paused guest go on."""
    async with monitor(runtime.qmp_socket, "letting the guest go on", deadline=10.0) as client:
        with client.listener("RESUME") as resumed:
            await client.execute("cont")
            if not resumed.empty():  # told before the command returns, so that a busy QEMU need not be asked
                return
        status = await client.execute("query-status")
        if not isinstance(status, dict) or not (status.get("running") or status.get("status") == STALLED):
            raise MachineError(f"the guest did not go on: {status}")
