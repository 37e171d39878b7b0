# SPDX-License-Identifier: Apache-2.0
"""Names for the guest, asked of this host's resolver at the moment of the question."""
