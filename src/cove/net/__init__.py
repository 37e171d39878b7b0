# SPDX-License-Identifier: Apache-2.0
"""The network of every driver: gvproxy (gvisor-tap-vsock), its command line, life and control API."""
