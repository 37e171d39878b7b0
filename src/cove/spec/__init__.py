# SPDX-License-Identifier: Apache-2.0
"""What a machine is and what a host can do, as plain frozen data. No I/O happens here."""
