# SPDX-License-Identifier: Apache-2.0
"""``cove doctor``: what is wrong with this host and its machines, why that matters, and what mends it."""
