# SPDX-License-Identifier: Apache-2.0
"""Programs from Debian's archive in private prefixes, for any host. Start at :mod:`cove.toolbox.toolbox`."""
