# SPDX-License-Identifier: Apache-2.0
"""What an image can be written as: archives, kernel and initramfs, file systems, disks."""
