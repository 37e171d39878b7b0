# SPDX-License-Identifier: Apache-2.0
"""The files that go into the guest: the agent, and below rootfs/ what the image recipes name."""

from __future__ import annotations

__version__ = "0.1.0"
