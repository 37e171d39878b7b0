# SPDX-License-Identifier: Apache-2.0
"""Registries: where they are, who we are there, and pulling images into the content store."""
