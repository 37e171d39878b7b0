# SPDX-License-Identifier: Apache-2.0
"""Clones of real machines: each a machine of its own, and the one they were made of untouched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_suspend import COUNT, SERVE, fetch, lines, port, status
from tests.integration.world import BUSYBOX, Home, Machine, talk, wait_until


@pytest.fixture(scope="module")
def home(module_home: Home) -> Home:
    return module_home


@pytest.fixture(scope="module")
def source(home: Home) -> Machine:
    """A machine under emulation with a counter; it is suspended."""
    home.cove("create", "src", "--driver", "qemu", "--accel", "tcg", "--cpus", "1", "--mount-none", "--start",
              deadline=300)  # fmt: skip
    machine = home.machine("src")
    machine.run("-d", "--name", "count", BUSYBOX, "sh", "-c", COUNT)
    machine.docker("run", "--rm", "-v", "vol:/v", BUSYBOX, "sh", "-c", "echo of the source > /v/f")
    home.cove("suspend", "src")
    return machine


def digests(machine: Machine) -> dict[str, str]:
    """Of all that a clone shares with its source: memory, devices, layers."""
    root = machine.home.root
    files = [root / "m/src/saved/memory", root / "m/src/saved/devices", *(root / "layers").iterdir()]
    found = {}
    for path in files:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            # holes of a disk of 64 GiB would take a while
            for start, end in _data(file.fileno()):
                file.seek(start)
                digest.update(start.to_bytes(8) + file.read(end - start))
        found[path.name] = digest.hexdigest()
    return found


def _data(handle: int) -> Iterator[tuple[int, int]]:
    from cove.system.sparse import data_extents

    return data_extents(handle)


def identity(machine: Machine) -> dict[str, str]:
    script = "hostname; cat /etc/machine-id; head -c 16 /dev/urandom | od -An -tx1"
    names = ("hostname", "machine-id", "random")
    return dict(zip(names, machine.shell("sh", "-c", script).stdout.decode().split("\n"), strict=False))


def test_clones_are_machines_of_their_own_and_leave_the_source_as_it_is(home: Home, source: Machine) -> None:
    assert home.cove("clone", "src", "c", "--count", "2").stdout.split() == [b"c-1", b"c-2"]
    before = digests(source)
    clones = [home.machine("c-1"), home.machine("c-2")]
    for clone in clones:
        assert status(clone) == "suspended"
        clone.start()
    # what ran goes on, in each by itself
    for clone in clones:
        seen = len(lines(clone, "count"))
        wait_until(lambda c=clone, n=seen: len(lines(c, "count")) > n, "the counter")  # type: ignore[misc]
        assert (
            clone.docker("run", "--rm", "-v", "vol:/v", BUSYBOX, "cat", "/v/f").stdout == b"of the source\n"
        )
        clone.sh(
            f"echo {clone.name} > /v/f; dd if=/dev/zero of=/dev/shm/x bs=1M count=32; rm /dev/shm/x",
            "-v",
            "vol:/v",
        )
    for clone in clones:
        assert clone.sh("cat /v/f", "-v", "vol:/v").strip() == clone.name
        assert clone.docker("info", "--format", "{{.Name}}").stdout.decode().strip() == clone.name
    one, other = (identity(clone) for clone in clones)
    assert (one["hostname"], other["hostname"]) == ("c-1", "c-2")
    assert len({one["machine-id"], other["machine-id"]}) == 2
    assert one["random"] != other["random"]
    assert clones[0].socket != clones[1].socket
    # published without a number: engines that were one would draw the same
    for clone in clones:
        clone.run("-d", "--name", "web", "-p", "0:80", BUSYBOX, "sh", "-c", SERVE)
    ports = {port(clone, "web") for clone in clones}
    assert len(ports) == 2
    assert {fetch(number) for number in ports} == {"hello\n"}
    # the guests have given memory back meanwhile, which must not be cut out of what they share
    assert digests(source) == before
    # each goes on sleeping, and waking, as the machine that it is
    home.cove("suspend", "c-1")
    clones[0].start()
    assert identity(clones[0])["machine-id"] == one["machine-id"]
    assert identity(clones[0])["hostname"] == "c-1"
    assert digests(source) == before


def test_clones_cost_what_they_change(home: Home, source: Machine) -> None:
    home.cove("clone", "src", "thin")
    folder = home.root / "m/thin"
    own = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.stat().st_nlink == 1)
    assert own < 1 << 20
    home.cove("delete", "-f", "thin")


def test_source_of_qemu_may_go_before_its_clones(home: Home, source: Machine) -> None:
    home.cove("clone", "src", "heir")
    told = json.loads(home.cove("clone", "src", "told", "--json").stdout)
    assert [(one["name"], one["status"]) for one in told] == [("told", "suspended")]
    home.cove("delete", "-f", "told")
    kept = home.root / "kept"
    (home.root / "m/src").rename(kept)  # as deleted, for the tests to come
    try:
        heir = home.machine("heir")
        heir.start()
        assert len(lines(heir, "count")) > 1
        assert heir.sh("cat /v/f", "-v", "vol:/v").strip() == "of the source"
        home.cove("delete", "-f", "heir")
    finally:
        kept.rename(home.root / "m/src")


def test_qemu_machine_that_runs_is_cloned_and_goes_on(home: Home, source: Machine) -> None:
    source.start()
    boot = source.boot_id()
    home.cove("clone", "src", "live", "--start")
    assert status(source) == "running"
    assert source.boot_id() == boot == home.machine("live").boot_id()
    assert len(lines(home.machine("live"), "count")) > 1
    home.cove("delete", "-f", "live")
    home.cove("suspend", "src")


def test_uml_machine_is_cloned_when_it_is_stopped(cache: Path) -> None:
    home = Home.make(cache)
    try:
        home.cove("create", "u", "--driver", "uml", "--mount-none", "--start", deadline=300)
        machine = home.machine("u")
        machine.sh("echo of the source > /v/f", "-v", "vol:/v")
        refused = talk(home.cove("clone", "u", "x", code=1))
        assert "the driver uml cannot copy a machine that runs" in refused
        assert "--driver qemu" in refused
        home.cove("stop", "u")
        home.cove("clone", "u", "x", "--start", deadline=300)
        home.cove("delete", "-f", "u")
        assert (
            home.machine("x").sh("cat /v/f; hostname -f >/dev/null; cat /v/f", "-v", "vol:/v")
            == "of the source\n" * 2
        )
    finally:
        home.close()
