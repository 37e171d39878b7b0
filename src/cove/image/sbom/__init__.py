# SPDX-License-Identifier: Apache-2.0
"""What an image is made of, told in the forms that tools read: SPDX, in-toto."""
