# SPDX-License-Identifier: Apache-2.0
"""LinuxKit's YAML and what becomes of it: schema, merging, runtime configuration, layout on the disk."""
