# SPDX-License-Identifier: Apache-2.0
"""A machine's life: what it is on disk, how it is created, started, watched, stopped and deleted.

Here, and only here, the independent parts (toolbox, image, drivers, network, guest, host) are wired together.
"""
