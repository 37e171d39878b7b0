# SPDX-License-Identifier: Apache-2.0
"""Several machines side by side, and every way to say which one is meant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.world import BUSYBOX, Home, Machine, talk


@pytest.fixture(scope="module")
def two(shared: Home, uml: Machine) -> Iterator[tuple[Machine, Machine]]:
    """Two running machines of one home."""
    shared.cove("create", "other", "--driver", "uml", "--memory", "1G", "--disk", "8G", "--start")
    yield uml, shared.machine("other")
    shared.cove("delete", "-f", "other")


def test_each_has_its_own_kernel(two: tuple[Machine, Machine]) -> None:
    one, other = two
    assert one.boot_id() != other.boot_id()
    assert not set(one.processes().values()) & set(other.processes().values())
    assert other.shell("hostname").stdout == b"other\n"


def test_each_has_its_own_memory_and_disk(two: tuple[Machine, Machine]) -> None:
    _, other = two
    memory = int(other.shell("awk", "/MemTotal/ {print $2}", "/proc/meminfo").stdout)
    assert 0.85 * (1 << 20) < memory <= 1 << 20
    found = other.inspect()
    assert (found["memory"], found["disk"]["size"]) == (1 << 30, 8 << 30)
    assert found["disk"]["allocated"] < 1 << 30  # sparse
    # of the file system: the device under it may have room to grow
    assert 0.9 * (8 << 30) < other.disk_size() <= 8 << 30


def test_each_has_its_own_engine(two: tuple[Machine, Machine]) -> None:
    one, other = two
    one.docker("volume", "create", "only-here")
    try:
        assert b"only-here" in one.docker("volume", "ls").stdout
        assert b"only-here" not in other.docker("volume", "ls").stdout
    finally:
        one.docker("volume", "rm", "only-here")
    assert one.socket != other.socket


def test_the_same_names_and_addresses_do_not_collide(two: tuple[Machine, Machine]) -> None:
    for machine in two:
        machine.run("-d", "--name", "same", "-p", "80", BUSYBOX, "httpd", "-f", "-p", "80")
    for machine in two:
        assert machine.docker("rm", "-f", "same").stdout == b"same\n"


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "other", "run"),
        ("--machine", "other", "run"),
        ("run", "-m", "other"),
        ("run", "--machine", "other"),
        ("run", "--machine=other"),
        ("docker", "-m", "other", "run"),
        ("docker", "--machine=other", "container", "run"),
    ],
)
def test_every_way_to_name_a_machine(two: tuple[Machine, Machine], words: tuple[str, ...]) -> None:
    done = two[1].home.cove(*words, "--rm", BUSYBOX, "cat", "/proc/sys/kernel/random/boot_id")
    assert done.stdout.decode().strip() == two[1].boot_id()


def test_m_before_a_number_is_dockers(two: tuple[Machine, Machine]) -> None:
    assert two[1].sh("cat /sys/fs/cgroup/memory.max", "-m", "32m") == f"{32 << 20}\n"


def test_two_different_names_are_refused(shared: Home) -> None:
    assert "Name one machine" in talk(shared.cove("-m", "a", "status", "b", code=2))


def test_a_name_that_cannot_be_one_is_refused(shared: Home) -> None:
    for name in ("UPPER", "9th", "a/b", "..", "a" * 31):
        assert "cannot name a machine" in talk(shared.cove("create", name, code=2))
