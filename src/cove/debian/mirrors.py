# SPDX-License-Identifier: Apache-2.0
"""Where Debian's archive is fetched from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A copy of the archive.

    Args:
        main: URL of the main archive, without a final slash: ``https://host/debian``.
        security: URL of the security archive: ``https://host/debian-security``.
    """

    main: str
    security: str
