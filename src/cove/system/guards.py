# SPDX-License-Identifier: Apache-2.0
"""What this host offers to hold child processes: Landlock, seccomp, namespaces."""

from __future__ import annotations

import sys
from pathlib import Path

from cove.errors import CoveError
from cove.spec.abilities import Guards
from cove.system import confine, seccomp
from cove.system.process import run

_TRY = "from cove.system.hide import stand_in; stand_in({})"
_DEADLINE = 10.0
_LSM = Path("/sys/kernel/security/lsm")
_SETTINGS = Path("/proc/sys")
_BARRIERS = (
    # the kernel's own, Debian's of old, Ubuntu's since 23.10: which value forbids, and which allows
    ("user.max_user_namespaces", "0", "15000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)


def guards() -> Guards:
    """Look, and try a namespace in a child; some 50 ms. All are absent on macOS."""
    namespaces = sys.platform == "linux" and namespaces_allowed()
    return Guards(
        landlock=confine.landlock_abi(),
        seccomp=seccomp.available(),
        namespaces=namespaces,
        barrier="" if namespaces else barrier(),
        lsm=tuple(_read(_LSM).split(",")) if _read(_LSM) else (),
    )


def namespaces_allowed() -> bool:
    """Whether a child of ours gets a mount namespace, and may mount in it: distributions forbid it in many ways."""
    try:
        run([sys.executable, "-c", _TRY], doing="trying a namespace", deadline=_DEADLINE)
    except CoveError:
        return False
    return True


def barrier(settings: Path = _SETTINGS) -> str:
    """The setting of the kernel that keeps ordinary users from namespaces, as sysctl(8) would lift it; "" for none.

    Args:
        settings: the folder of all settings, sysctl's.
    """
    for name, closed, lifted in _BARRIERS:
        if _read(settings / name.replace(".", "/")) == closed:
            return f"{name}={lifted}"
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # securityfs is not mounted, or not for us; an older kernel has not all settings
        return ""
