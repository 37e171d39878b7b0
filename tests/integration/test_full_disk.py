# SPDX-License-Identifier: Apache-2.0
"""A disk that is really full while a machine is suspended, copied, saved: nothing is lost, nothing is left behind.

Tests named after qemu run on request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.test_suspend import COUNT, lines, status
from tests.integration.world import BUSYBOX, Home, Machine, talk, wait_until
from tests.small_disk import SmallDisk, small_disk

MIB = 1 << 20
SIZE = 700 * MIB


@dataclass
class SmallHome(Home):
    """A home on a small disk."""

    disk: SmallDisk | None = None

    def files(self) -> set[str]:
        """All that lies there but logs and sockets."""
        assert self.disk is not None
        seen = self.disk.seen
        found = {
            str(path.relative_to(seen)) for place in ("m", "layers") for path in seen.glob(f"{place}/**/*")
        }
        return {name for name in found if not name.endswith((".log", ".sock", "boot.json", "launch.json"))}


@pytest.fixture(scope="module")
def home(cache: Path) -> Iterator[SmallHome]:
    with small_disk(SIZE) as disk:
        made = SmallHome(disk.place, cache, enter=disk.enter, disk=disk)
        yield made
        made.cove("delete", "-f", *made.names())


@pytest.fixture(scope="module")
def qemu(home: SmallHome) -> Machine:
    home.cove("create", "s", "--driver", "qemu", "--accel", "tcg", "--cpus", "1", "--mount-none", "--start",
              deadline=300)  # fmt: skip
    machine = home.machine("s")
    machine.run("-d", "--name", "count", BUSYBOX, "sh", "-c", COUNT)
    machine.docker("run", "--rm", "-v", "vol:/v", BUSYBOX, "sh", "-c", "echo kept > /v/f; sync")
    return machine


def refusal(home: SmallHome, *args: str) -> str:
    """What a command says that meets the full disk: it names the disk, and nothing is left of it."""
    assert home.disk is not None
    before = home.files()
    said = talk(home.cove(*args, code=1))
    assert "No space left on device" in said
    assert f"left on the disk at {home.disk.place}" in said
    assert home.files() == before
    return said


def kept(machine: Machine) -> str:
    return machine.sh("cat /v/f", "-v", "vol:/v")


@pytest.mark.parametrize("left", [0, 100 << 10, 40 * MIB])
def test_running_qemu_goes_on(home: SmallHome, qemu: Machine, left: int) -> None:
    assert home.disk is not None
    boot, seen = qemu.boot_id(), len(lines(qemu, "count"))
    home.disk.fill(left)
    try:
        for words in (("suspend", "s"), ("clone", "s", "c"), ("snapshot", "save", "s", "one")):
            refusal(home, *words)
            assert status(qemu) == "running"
        assert home.names() == ["s"]
    finally:
        home.disk.free()
    assert qemu.boot_id() == boot
    wait_until(lambda: len(lines(qemu, "count")) > seen, "the counter to go on")
    assert kept(qemu) == "kept\n"


@pytest.mark.parametrize("left", [0, 16 << 10])
def test_suspended_qemu_stays_as_it_is(home: SmallHome, qemu: Machine, left: int) -> None:
    assert home.disk is not None
    boot = qemu.boot_id()
    home.cove("suspend", "s")
    home.disk.fill(left)
    try:
        for words in (("clone", "s", "c"), ("snapshot", "save", "s", "one")):
            refusal(home, *words)
            assert status(qemu) == "suspended"
    finally:
        home.disk.free()
    qemu.start()
    assert qemu.boot_id() == boot
    assert kept(qemu) == "kept\n"


def test_qemu_that_writes_stands_still_until_there_is_room(home: SmallHome, qemu: Machine) -> None:
    """Nothing in it learns of the full disk, so nothing is lost."""
    assert home.disk is not None
    boot = qemu.boot_id()
    home.disk.fill()
    script = (
        "dd if=/dev/urandom of=/v/large bs=1M count=32 && sync && sha256sum < /v/large && sha256sum /v/large"
    )
    with home.begun(
        "-m", "s", "docker", "run", "--rm", "-v", "vol:/v", BUSYBOX, "sh", "-c", script
    ) as writing:
        wait_until(lambda: "stands still" in qemu.inspect()["reason"], "the guest to meet the full disk")
        assert "stands still until there is room on the disk at" in home.cove("status", "s").stdout.decode()
        refusal(home, "suspend", "s")
        assert status(qemu) == "running"
        home.disk.free()
        out, _ = writing.communicate(timeout=180)
    assert writing.returncode == 0
    assert len({line.split()[0] for line in out.splitlines()}) == 1
    assert qemu.inspect()["reason"] == ""
    assert (qemu.boot_id(), kept(qemu)) == (boot, "kept\n")
    home.cove("suspend", "s")
    qemu.start()
    assert qemu.boot_id() == boot
