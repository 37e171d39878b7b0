# SPDX-License-Identifier: Apache-2.0
"""Ask an engine whether it has images, in as few imports as can be: every ``cove run`` passes here.

:class:`cove.host.engine.Engine` can do it too, and more; its HTTP client takes longer to load than an answer to come.
The request is HTTP/1.0 (RFC 1945), so the reply ends with the connection. API: Docker Engine API v1.45, ``ImageList``.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

_DEADLINE = 10.0
"""Seconds that each read or write may take."""


def has_images(path: Path, references: Sequence[str]) -> bool:
    """Whether an engine surely has images of all these names.

    Args:
        path: the engine's unix socket.
        references: names with tags.

    Returns:
        False also when it cannot be told: whoever asks on gets the reason.
    """
    try:
        return all(_has_image(path, reference) for reference in references)
    except (OSError, ValueError):
        return False


def _has_image(path: Path, reference: str) -> bool:
    filters = quote(json.dumps({"reference": [reference]}))
    with socket.socket(socket.AF_UNIX) as engine:
        engine.settimeout(_DEADLINE)
        engine.connect(str(path))
        engine.sendall(f"GET /images/json?filters={filters} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        reply = b"".join(iter(lambda: engine.recv(65536), b""))
    head, _, body = reply.partition(b"\r\n\r\n")
    return head.split(b" ", 2)[1:2] == [b"200"] and bool(json.loads(body))
