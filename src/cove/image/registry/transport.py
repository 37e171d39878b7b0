# SPDX-License-Identifier: Apache-2.0
"""How requests travel to a registry: whom we trust, how long we wait, what is tried again; by requests and urllib3."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from cove.errors import UsageError
from cove.image.registry.endpoints import Trust

_WORTH_IT = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often a request is tried; times in seconds.

    Args:
        connect: to reach a registry.
        stall: without a single byte.
        attempts: in a row without getting any further.
        backoff: before the third attempt; doubles each time.
        retry_after: the longest time that a busy registry may ask us to wait before the next attempt.
    """

    connect: float = 15.0
    stall: float = 30.0
    attempts: int = 4
    backoff: float = 0.5
    retry_after: int = 20


@cache
def _trusted(trust: Trust) -> ssl.SSLContext:
    """What the host trusts and more; read once, as that takes a while."""
    context = ssl.create_default_context()
    try:
        if trust.authorities:
            context.load_verify_locations(cadata=trust.authorities)
        if trust.client:
            context.load_cert_chain(*trust.client)
    except (ssl.SSLError, OSError) as error:
        raise UsageError("a certificate for a registry cannot be read", details=str(error)) from error
    return context


class Adapter(HTTPAdapter):
    """Adds deadlines, repetition and the host's own certificate authorities (SSL_CERT_FILE included)."""

    def __init__(self, patience: Patience, trust: Trust, *, verify: bool) -> None:
        # urllib3 changes the context of a connection that checks nothing: that must not be the shared one
        self._context: dict[str, Any] = {"ssl_context": _trusted(trust)} if verify else {}
        self._timeout = (patience.connect, patience.stall)
        again = patience.attempts - 1
        retries = Retry(
            total=again, connect=again, read=again, status=again, other=0, redirect=5, status_forcelist=_WORTH_IT,
            allowed_methods=("GET", "HEAD"), backoff_factor=patience.backoff, raise_on_status=False,
            retry_after_max=patience.retry_after,
        )  # fmt: skip
        super().__init__(max_retries=retries)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        """Make connections that trust what the host trusts, besides the authorities that requests brings."""
        super().init_poolmanager(connections, maxsize, block, **more, **self._context)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """The same behind a proxy."""
        return super().proxy_manager_for(proxy, **more, **self._context)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send with a deadline for connecting and for every byte."""
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        return super().send(request, *args, **kwargs)
