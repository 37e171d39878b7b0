# SPDX-License-Identifier: Apache-2.0
"""Cove: a Docker Engine in its own Linux kernel, on any host. This module is the one public door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove.version import __version__

__all__ = ["Client", "CoveError", "Machine", "__version__"]

if TYPE_CHECKING:
    from cove.errors import CoveError
    from cove.sdk import Client, Machine


def __getattr__(name: str) -> Any:
    # loaded when asked for: every module of the package passes here
    if name in ("Client", "Machine"):
        from cove import sdk

        return getattr(sdk, name)
    if name == "CoveError":
        from cove.errors import CoveError

        return CoveError
    raise AttributeError(f"module 'cove' has no attribute {name!r}")
