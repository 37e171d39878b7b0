# SPDX-License-Identifier: Apache-2.0
"""Cove: a Docker Engine in its own Linux kernel, on any host."""

__version__ = "0.1.0"
