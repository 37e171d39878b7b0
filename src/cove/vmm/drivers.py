# SPDX-License-Identifier: Apache-2.0
"""Every driver by its name: the one place to add another."""

from __future__ import annotations

from cove.spec.machine import Driver
from cove.vmm.base import Vmm
from cove.vmm.qemu import Qemu
from cove.vmm.uml import Uml


def driver(name: Driver) -> Vmm:
    """The driver of this name."""
    match name:
        case "uml":
            return Uml()
        case "qemu":
            return Qemu()
