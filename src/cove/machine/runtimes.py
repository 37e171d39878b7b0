# SPDX-License-Identifier: Apache-2.0
"""Where the parts of one run of one machine lie, as its driver wants to know it. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cove.host.ports import ephemeral_range
from cove.machine.plan import LaunchPlan
from cove.spec.machine import Driver
from cove.spec.shares import kernel_words
from cove.system.paths import MachinePaths
from cove.vmm.base import Runtime

MTUS: Mapping[Driver, int] = {
    # its frames are packets of a unix socket, each a system call here and one in gvproxy
    "uml": 60000,
    "qemu": 9000,
    # what Virtualization.framework gives a device unless it is told otherwise, which vfkit does not
    "vz": 1500,
}
"""Bytes of the largest packet, on every link: the larger, the fewer frames for the same bytes."""


def runtime_of(
    paths: MachinePaths,
    plan: LaunchPlan,
    *,
    memory_dir: Path,
    memory_file: Path | None,
    shares: Sequence[Path],
) -> Runtime:
    """The runtime of a machine's own run.

    Args:
        paths: the machine's files.
        plan: what is started.
        memory_dir: the folder for the guest's memory.
        memory_file: the file that is the guest's memory, if it is one of ours.
        shares: the sockets of the share daemons, in the order of their tags.
    """
    first, last = ephemeral_range(str(paths.root))
    return Runtime(
        folder=paths.root,
        net_socket=paths.network_socket,
        qmp_socket=paths.qmp_socket,
        uml_dir=paths.uml_dir,
        console_log=paths.console_log,
        memory_dir=memory_dir,
        words=(
            f"cove.hostname={paths.name}",
            f"cove.ports={first}-{last}",
            *([f"cove.disk={plan.spec.disk}"] if plan.spec.driver == "uml" else []),
            *kernel_words(plan.spec.shares, plan.hidden, mount_type=plan.spec.mount_type),
        ),
        shares=tuple(shares),
        firmware=plan.firmware,
        mtu=MTUS[plan.spec.driver],
        host_cpu=plan.host_cpu,
        memory_file=memory_file,
        seccomp=sys.platform == "linux",
        growing_disk=plan.boot.data if plan.spec.driver == "uml" else None,
    )
