# SPDX-License-Identifier: Apache-2.0
"""Tar archives as Go reads and writes them, as streams: byte for byte what LinuxKit makes."""
