# SPDX-License-Identifier: Apache-2.0
"""What a machine has can be changed, and what it does not use goes back to the host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cove.units import GIB, MIB
from tests.integration.world import Home, Machine, talk, wait_until

ACCEL = {"uml": (), "qemu": ("--accel", "tcg")}


def on_disk(machine: Machine) -> int:
    """Bytes that the data disk takes on ours."""
    return (machine.home.root / "m" / machine.name / "data.img").stat().st_blocks * 512


def resident(pid: int) -> int:
    """Bytes of our memory that a process has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.parametrize("driver", ["uml", "qemu"])
def test_a_machine_can_be_changed(home: Home, driver: str) -> None:
    create = ("--driver", driver, *ACCEL[driver], "--disk", "2G", "--memory", "768M")
    home.cove("create", *create, "--start")
    machine = home.machine()
    assert on_disk(machine) < 64 * MIB  # a new disk takes next to nothing
    machine.shell("sh", "-c", "echo kept > /var/lib/kept; sync")
    before = machine.disk_size()
    assert before < 2 * GIB
    done = home.cove("set", "--disk", "6G", "--memory", "1G")
    assert "at its next start" in talk(done)
    assert machine.inspect()["pending"] == ["memory"]
    assert machine.disk_size() > 5.5 * GIB  # the running one has it already
    # and can fill it beyond its former end
    machine.shell("fallocate", "-l", "3G", "/var/lib/large")
    machine.shell("sh", "-c", "echo beyond | dd of=/var/lib/large bs=1 seek=3000000000 conv=notrunc; sync")
    home.cove("set", "--disk", "1G", code=2)
    home.cove("restart")
    found = machine.inspect()
    assert (found["memory"], found["disk"]["size"], found["pending"]) == (GIB, 6 * GIB, [])
    assert machine.disk_size() > 5.5 * GIB
    total = int(machine.shell("grep", "MemTotal", "/proc/meminfo").stdout.split()[1]) * 1024
    assert 0.85 * GIB < total <= GIB
    assert machine.shell("cat", "/var/lib/kept").stdout == b"kept\n"
    words = ("dd", "if=/var/lib/large", "bs=1", "skip=3000000000", "count=6")
    assert machine.shell(*words).stdout == b"beyond"
    assert (machine.home.root / "m" / machine.name / "data.img").stat().st_size == 6 * GIB


def test_what_cannot_be_is_refused(uml: Machine) -> None:
    before = uml.inspect()
    assert "one CPU" in talk(uml.home.cove("set", "uml", "--cpus", "2", code=2))
    assert "cannot shrink" in talk(uml.home.cove("set", "uml", "--disk", "2G", code=2))
    uml.home.cove("set", "uml", code=2)
    uml.home.cove("set", "uml", "--memory", "9999G", code=2)
    after = uml.inspect()
    assert (after["cpus"], after["memory"], after["disk"]["size"], after["pending"]) == (
        before["cpus"],
        before["memory"],
        before["disk"]["size"],
        [],
    )


def test_deleted_files_shrink_the_disk(machine: Machine) -> None:
    machine.shell("sh", "-c", "dd if=/dev/urandom of=/var/lib/junk bs=1M count=64 2> /dev/null; sync")
    full = on_disk(machine)
    machine.shell("sh", "-c", "rm /var/lib/junk; sync")
    wait_until(lambda: on_disk(machine) < full - 60 * MIB, "the space", deadline=30)


def test_trim_gives_back_and_says_how_much(machine: Machine) -> None:
    """Of what was deleted without a word to the disk."""
    machine.shell("mount", "-o", "remount,nodiscard", "/var/lib")
    try:
        machine.shell("sh", "-c", "dd if=/dev/urandom of=/var/lib/junk bs=1M count=64 2> /dev/null; sync")
        machine.shell("sh", "-c", "rm /var/lib/junk; sync")
        full = on_disk(machine)
        done = machine.home.json("trim", machine.name)
        assert done["freed"] >= 60 * MIB
        assert done["told"] >= done["freed"]
        assert on_disk(machine) <= full - 60 * MIB
    finally:
        machine.shell("mount", "-o", "remount,discard", "/var/lib")
    assert b"Total reclaimed space" in machine.home.cove("trim", machine.name).stdout


def memory_on_host(machine: Machine) -> int:
    """Bytes that the guest's memory takes on ours: under uml the VMM's file, which nobody else can name."""
    pid = machine.processes()["vmm"]
    if machine.inspect()["driver"] == "qemu":
        return resident(pid)
    folder = Path(f"/proc/{pid}/fd")
    (size,) = {
        handle.stat().st_blocks * 512
        for handle in folder.iterdir()
        if str(handle.readlink()).startswith("/dev/shm/cove-")
    }
    return size


def test_freed_memory_goes_back_to_the_host(machine: Machine) -> None:
    """Reports of free pages: to QEMU itself, or under User-Mode Linux to the supervisor."""
    before = memory_on_host(machine)
    machine.shell(
        "sh", "-c", "dd if=/dev/urandom of=/tmp/big bs=1M count=400 2> /dev/null; sha256sum /tmp/big"
    )
    full = memory_on_host(machine)
    assert full > before + 250 * MIB
    machine.shell("rm", "/tmp/big")
    wait_until(lambda: memory_on_host(machine) < full - 300 * MIB, "the memory", deadline=60)
    # and what was given back can be used again, and holds what is written
    script = "cp /tmp/a /tmp/b; cmp /tmp/a /tmp/b && rm /tmp/a /tmp/b"
    machine.shell("sh", "-c", f"dd if=/dev/urandom of=/tmp/a bs=1M count=300 2> /dev/null; {script}")
