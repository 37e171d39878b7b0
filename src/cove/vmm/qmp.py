# SPDX-License-Identifier: Apache-2.0
"""QEMU's monitor, through the library ``qemu.qmp``: a fresh connection for each exchange.

QEMU's monitor socket serves one client at a time, so a connection is not kept longer than its exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qemu.qmp import ExecuteError, QMPClient, QMPError

from cove.errors import MachineError

_RETRY = 0.01


async def qmp(
    path: Path, command: str, arguments: dict[str, object] | None = None, *, deadline: float = 5.0
) -> object:
    """Execute one QMP command.

    Args:
        path: the monitor's socket.
        command: its name, as in QEMU's QMP reference.
        arguments: of the command.
        deadline: seconds for the whole exchange; a QEMU that is just starting is waited for.

    Returns:
        what QEMU returned.

    Raises:
        MachineError: QEMU cannot be reached, did not answer in time or refused.
    """
    async with monitor(path, command, deadline=deadline) as client:
        result: object = await client.execute(command, arguments)
    return result


@asynccontextmanager
async def monitor(path: Path, what: str, *, deadline: float | None) -> AsyncIterator[QMPClient]:
    """A connection for several commands that belong together.

    Args:
        path: the monitor's socket.
        what: what they do, for errors.
        deadline: seconds for all of them; None lets them take as long as QEMU runs.

    Raises:
        MachineError: QEMU cannot be reached, did not answer in time or refused.
    """
    try:
        async with asyncio.timeout(deadline):
            client = await _connect(path)
            try:
                yield client
            finally:
                await client.disconnect()
    except ExecuteError as error:
        raise MachineError(f"QEMU refused {what}", details=str(error)) from error
    except TimeoutError as error:
        raise MachineError(
            f"QEMU did not answer {what} within {deadline:.0f} s", details=str(path)
        ) from error
    except (QMPError, EOFError, OSError) as error:
        raise MachineError(f"QEMU's monitor failed at {what}", details=str(error)) from error


async def _connect(path: Path) -> QMPClient:
    """Connect, again and again until the caller's deadline: no event tells that QEMU listens."""
    while True:
        # the library logs each failure as an error, so it is not asked before the socket is there
        if _is_there(path):
            client = QMPClient("cove")
            try:
                await client.connect(str(path))
            except QMPError:
                pass
            else:
                return client
        await asyncio.sleep(_RETRY)


def _is_there(path: Path) -> bool:
    return path.is_socket()
