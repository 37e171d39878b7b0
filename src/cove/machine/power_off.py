# SPDX-License-Identifier: Apache-2.0
"""Ask a guest to power itself off, one way or the other."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from cove.errors import CoveError, DeadlineError, GuestError
from cove.guest.client import GuestClient
from cove.system.paths import MachinePaths
from cove.vmm.base import Vm

log = logging.getLogger("cove.supervisor")

_DEADLINE = 3


async def ask_to_power_off(paths: MachinePaths, vm: Vm) -> None:
    """Ask the guest's agent, and where that does not answer press the VMM's button; returns when it was asked."""
    try:
        client = GuestClient(paths.agent_socket, deadline=_DEADLINE)
        await asyncio.to_thread(partial(client.call, "poweroff", mode="poweroff"))
    except (GuestError, DeadlineError) as error:
        log.warning("the agent could not be asked to power off: %s; pressing the button", error.message)
        try:
            await vm.power_button()
        except CoveError as refused:
            log.warning("the power button failed: %s", refused.message)
