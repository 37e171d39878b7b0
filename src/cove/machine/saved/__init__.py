# SPDX-License-Identifier: Apache-2.0
"""A suspended guest on the disk: what is recorded of it, whether it still fits, how it is written and given up."""
