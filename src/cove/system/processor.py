# SPDX-License-Identifier: Apache-2.0
"""The processor of this host. Apart from :mod:`cove.system.probe`, which takes longer to load than to ask this."""

from __future__ import annotations

import os


def host_machine() -> str:
    """The host's processor, as Linux names it."""
    return os.uname().machine.replace("arm64", "aarch64").replace("AMD64", "x86_64")
