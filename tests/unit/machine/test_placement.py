# SPDX-License-Identifier: Apache-2.0
"""Kernels are spread over the processors that we may use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cove.machine.placement import bound_kernels, choose_host_cpu, least_used


@pytest.mark.parametrize(
    ("allowed", "used", "chosen"),
    [
        ([0, 1, 2], [], 2),
        ([0, 1, 2], [2], 1),
        ([0, 1], [1, 0], 1),
        ([0, 1], [1, 1, 0], 0),
        ([5], [5, 5], 5),
        ([0, 1], [7], 1),
    ],
)
def test_the_least_used_processor_is_chosen(allowed: list[int], used: list[int], chosen: int) -> None:
    assert least_used(allowed, used) == chosen


def test_other_drivers_are_not_bound() -> None:
    assert choose_host_cpu("qemu") is None


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[int]:
    """A process that is called as User-Mode Linux is, leads its group, and is bound to one processor."""
    program = tmp_path / "linux.uml"
    shutil.copy("/bin/sleep", program)
    child = subprocess.Popen([program, "60"], start_new_session=True)
    cpu = min(os.sched_getaffinity(0))
    os.sched_setaffinity(child.pid, {cpu})
    yield cpu
    child.kill()
    child.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_running_kernels_are_counted(kernel: int) -> None:
    assert list(bound_kernels()).count(kernel) >= 1
