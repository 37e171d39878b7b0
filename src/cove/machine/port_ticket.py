# SPDX-License-Identifier: Apache-2.0
"""What the keeper of ports and the engine's front hand to each other about one request. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from cove.host.http_scan import Call
from cove.host.ports import Container


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What was found out before a request was passed on.

    Args:
        call: the request.
        container: what it starts, if that wants anything of the host.
        refusal: why it must not be passed on, in dockerd's words.
    """

    call: Call
    container: Container | None = None
    refusal: str | None = None
