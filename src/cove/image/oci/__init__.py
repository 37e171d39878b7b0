# SPDX-License-Identifier: Apache-2.0
"""OCI images: references, where images lie, and reading them."""
