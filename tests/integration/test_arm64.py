# SPDX-License-Identifier: Apache-2.0
"""The guest for arm64, as it boots on Apple silicon but for what executes it: here every instruction is emulated."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cove.vmm.qmp import qmp
from tests.integration.world import BUSYBOX, Home, wait_until


def test_an_arm64_guest_runs_containers_and_obeys_its_power_button(home: Home) -> None:
    home.cove("create", "arm", "--arch", "arm64", "--start", deadline=600)
    machine = home.machine("arm")
    assert machine.inspect()["architecture"] == "aarch64"
    assert machine.run("--rm", BUSYBOX, "uname", "-m").stdout == b"aarch64\n"
    assert machine.docker("info", "--format", "{{.Architecture}}").stdout == b"aarch64\n"
    image = machine.docker("image", "inspect", BUSYBOX, "--format", "{{.Os}}/{{.Architecture}}")
    assert image.stdout == b"linux/arm64\n"
    # ctrl-alt-del on the keyboard that this machine was given: no agent and no network are asked
    monitor = Path(home.root) / "m/arm/vm/qmp.sock"
    keys = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]
    asyncio.run(qmp(monitor, "send-key", {"keys": keys}))
    wait_until(lambda: machine.inspect()["status"] == "stopped", "the end of the machine")
    assert machine.inspect()["reason"] == "the guest powered itself off"
