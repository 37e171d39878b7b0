# SPDX-License-Identifier: Apache-2.0
"""Debian's signed archive: verify, resolve, download, unpack. Start at :mod:`cove.debian.archive`."""
