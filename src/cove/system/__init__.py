# SPDX-License-Identifier: Apache-2.0
"""The only hands: paths, files, locks and child processes. No other package starts programs."""
