# SPDX-License-Identifier: Apache-2.0
"""The host side of docker: its command line, its configuration folder, the user's shell."""
