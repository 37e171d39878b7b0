# SPDX-License-Identifier: Apache-2.0
"""Which of the host's processors a User-Mode Linux is bound to.

Its processes hand over to each other at each system call and page fault of the guest; across processors that costs
an inter-processor interrupt, which made everything three to four times slower where we measured it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cove.spec.machine import Driver

_PROGRAM = "linux.uml"


def choose_host_cpu(driver: Driver) -> int | None:
    """The processor with the fewest kernels bound to it, of whatever ``COVE_HOME``; None leaves it to the host."""
    if driver != "uml" or not hasattr(os, "sched_getaffinity"):
        return None
    return least_used(sorted(os.sched_getaffinity(0)), list(bound_kernels()))


def least_used(allowed: Sequence[int], used: Sequence[int]) -> int:
    """The one of ``allowed`` that is least often in ``used``. Pure."""
    # the last one first: hosts tend to handle their interrupts on the first
    return min(reversed(allowed), key=used.count)


def bound_kernels(proc: Path = Path("/proc")) -> Iterator[int]:
    """The processor of each User-Mode Linux that is bound to one, as far as we may look."""
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        pid = int(folder.name)
        try:
            # its guest's processes have the same name; only the kernel itself leads its group
            if (folder / "comm").read_text().strip() != _PROGRAM or os.getpgid(pid) != pid:
                continue
            bound = os.sched_getaffinity(pid)
        except OSError:
            continue  # it ended meanwhile, or is not ours to look at
        if len(bound) == 1:
            yield next(iter(bound))
