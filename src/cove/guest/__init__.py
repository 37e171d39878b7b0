# SPDX-License-Identifier: Apache-2.0
"""The host's end of the guest agent: requests, and programs run inside the guest."""
