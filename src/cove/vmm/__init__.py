# SPDX-License-Identifier: Apache-2.0
"""Drivers: who runs the guest's kernel. One interface (``base``), one module per driver."""
