# SPDX-License-Identifier: Apache-2.0
"""The command line. It speaks to :mod:`cove.sdk` alone; :mod:`cove.cli.output` is the only place that prints."""
