# SPDX-License-Identifier: Apache-2.0
"""The drivers by name."""

from __future__ import annotations

from cove.spec.machine import Driver
from cove.vmm.base import Vmm


def driver_named(name: Driver) -> Vmm:
    """The driver of this name; imports only that one."""
    if name == "qemu":
        from cove.vmm.qemu import Qemu

        return Qemu()
    if name == "vz":
        from cove.vmm.vz import Vz

        return Vz()
    from cove.vmm.uml import Uml

    return Uml()
