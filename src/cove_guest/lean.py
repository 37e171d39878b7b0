# SPDX-License-Identifier: Apache-2.0
"""Parts of the standard library without what they drag in: ``signal`` would import ``enum``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
else:
    import _signal as signals

__all__ = ["signals"]
