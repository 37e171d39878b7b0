# SPDX-License-Identifier: Apache-2.0
"""Guest images and built-in container images, made of Debian packages. Start at :mod:`cove.image.build`."""
