# SPDX-License-Identifier: Apache-2.0
"""An HTTP session with one registry: oras-py speaks the protocol, requests and urllib3 carry it.

Protocol: opencontainers/distribution-spec 1.1; tokens: distribution, docs/spec/auth/token.md and oauth.md.
What oras-py 0.2.43 leaves to its caller is added here: deadlines; repeating only what is worth it (by urllib3);
registries that want the password itself (Basic); identity tokens; a token that expires during a long pull.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

import oras.auth
import oras.provider
import requests
import urllib3.exceptions
from oras.auth.token import TokenAuth
from oras.auth.utils import parse_auth_header

from cove.errors import CoveError, NetworkError, NotFoundError
from cove.image.registry.credentials import Credentials
from cove.image.registry.endpoints import HUB, Endpoint, Trust
from cove.image.registry.transport import Adapter, Patience

# it would print to stderr by itself; what it has to say becomes an error here
logging.getLogger("oras.logger").addHandler(logging.NullHandler())
logging.getLogger("oras.logger").propagate = False

_CLIENT = "cove"
_CHUNK = 256 * 1024


class UnreachableError(NetworkError):
    """Nobody there speaks what was spoken; another scheme may be understood."""


class CutError(NetworkError):
    """A connection that broke while something was on its way."""


class _Auth(TokenAuth):  # type: ignore[misc]  # oras is not annotated
    """Answers a registry's challenge."""

    token: str | None

    def __init__(self, credentials: Credentials | None) -> None:
        super().__init__()
        self._identity = ""
        if credentials is not None and credentials.identity_token:
            self._identity = credentials.identity_token
        elif credentials is not None:
            self._basic_auth = credentials.basic

    def load_configs(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing: the credentials are given, docker's configuration is read elsewhere."""

    def authenticate_request(
        self, original: requests.Response, headers: dict[str, str] | None, refresh: bool = False
    ) -> tuple[dict[str, str], bool]:
        """Add to ``headers`` what the registry asks for; says whether there was anything to add."""
        headers = dict(headers or {})
        original.close()
        if original.request.headers.get("Authorization") == f"Bearer {self.token}":
            self.token = None  # expired, or it does not reach this far
        challenge = original.headers.get("Www-Authenticate", "")
        realm = str(parse_auth_header(challenge).realm or "")
        if original.url.startswith("https:") and realm.startswith("http:"):
            return headers, False  # our secret would travel in the clear
        if not challenge.lower().lstrip().startswith("basic"):
            return super().authenticate_request(original, headers, refresh)  # type: ignore[no-any-return]
        basic = getattr(self, "_basic_auth", None)
        if basic is None or original.request.headers.get("Authorization") == f"Basic {basic}":
            return headers, False
        return headers | {"Authorization": f"Basic {basic}"}, True

    def request_anonymous_token(self, header: Any, *_args: Any) -> Any:
        """A token; with an identity token it is exchanged (oauth.md), else it is anybody's."""
        if not self._identity:
            return super().request_anonymous_token(header)
        form = {
            "grant_type": "refresh_token", "refresh_token": self._identity, "client_id": _CLIENT,
            "service": header.service or "", "scope": header.scope or "",
        }  # fmt: skip
        reply = self.session.request("POST", header.realm, data=form)
        return reply.json().get("access_token") if reply.status_code == 200 else None


class _Registry(oras.provider.Registry):  # type: ignore[misc]  # oras is not annotated
    # its own repetition takes two minutes, for refusals as well; the adapter repeats what is worth it
    do_request = inspect.unwrap(oras.provider.Registry.do_request)


class Session:
    """Requests to one repository at one endpoint. Not for several threads: each has its own (:meth:`twin`).

    Args:
        endpoint: where.
        scheme: "https" or "http".
        repository: the repository's path in it.
        credentials: who we are there; None is anybody.
        patience: how long and how often.
        trust: whom we believe.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        scheme: str,
        repository: str,
        credentials: Credentials | None,
        patience: Patience,
        trust: Trust,
    ) -> None:
        self.endpoint = endpoint
        self.repository = repository
        self._credentials = credentials
        self._scheme = scheme
        self._trust = trust
        self.patience = patience
        self._registry = _Registry(insecure=scheme == "http", tls_verify=endpoint.verify)
        session = self._registry.session
        session.headers.update({"User-Agent": _user_agent(), "Accept-Encoding": "identity"})
        for prefix in ("https://", "http://"):
            session.mount(prefix, Adapter(patience, trust, verify=endpoint.verify))
        self._registry.auth = _Auth(credentials)
        self._registry.auth.session = session
        self._registry.auth._tls_verify = endpoint.verify  # noqa: SLF001  (as oras' own factory sets it)

    def __repr__(self) -> str:
        return f"<session with {self.base}>"

    @property
    def base(self) -> str:
        """The address of the repository."""
        return f"{self._scheme}://{self.endpoint.host}/v2/{self.repository}"

    def twin(self) -> Session:
        """Another session for the same, which begins with the token that this one has."""
        other = Session(
            self.endpoint, self._scheme, self.repository, self._credentials, self.patience, self._trust
        )
        other._registry.auth.token = self._registry.auth.token
        return other

    def close(self) -> None:
        """Close its connections."""
        self._registry.session.close()

    def get(
        self, below: str, *, headers: Mapping[str, str], good: tuple[int, ...] = (200,), stream: bool = False
    ) -> requests.Response:
        """Get something below the repository.

        Args:
            below: "manifests/TAG", "blobs/DIGEST".
            headers: of the request.
            good: status codes that are no failure.
            stream: do not read the body yet; the caller closes the response.

        Raises:
            NotFoundError: the registry does not have it, or does not show it to us.
            NetworkError: the registry refused, is busy, or cannot be reached.
        """
        url = f"{self.base}/{below}"
        try:
            response = self._registry.do_request(url, "GET", headers=dict(headers), stream=stream)
        except ValueError as error:  # oras: there is nothing that it could answer the challenge with
            if isinstance(error, requests.exceptions.RequestException):
                raise self._failed(url, error) from error
            raise self._refused(url, 401, "") from error
        except requests.exceptions.RequestException as error:
            raise self._failed(url, error) from error
        if response.status_code in good:
            return response  # type: ignore[no-any-return]
        with response:
            raise self._refused(url, response.status_code, _reasons(response))

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The body of a response that was asked for with ``stream``.

        Raises:
            CutError: the connection broke, or nothing came for too long; another attempt may get further.
        """
        try:
            # not iter_content: it waits for a whole chunk, and loses what came of it before a cut
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise CutError(_describe(error)) from error

    def _failed(self, url: str, error: Exception) -> NetworkError:
        if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY" in _describe(error):
            return NetworkError(
                f"the registry {self.endpoint.host} has no certificate that is trusted here",
                details=f"{url}\n{_describe(error)}",
                hint="SSL_CERT_FILE names further authorities; insecure_registries in config.yml asks for none.",
            )
        return UnreachableError(
            f"the registry {self.endpoint.host} cannot be reached",
            details=f"{url}\n{_describe(error)}",
            hint="Check the network and the proxy variables; a mirror can be set in config.yml.",
        )

    def _refused(self, url: str, status: int, reasons: str) -> CoveError:
        details = "\n".join(part for part in (f"{url}: HTTP {status}", reasons) if part)
        host = self.endpoint.host
        login = "docker login" if self.endpoint.host.endswith(HUB) else f"docker login {host}"
        if status == 404:
            return NotFoundError(f"{host} does not have it", details=details)
        if status == 429:
            return NetworkError(
                f"{host} takes no more requests from here for now",
                details=details,
                hint=f"Its rate limit is reached: wait, raise it with {login}, or set a mirror in config.yml.",
            )
        if status in (401, 403):
            known = self._credentials is not None
            return NetworkError(
                f"{host} refuses our credentials" if known else f"{host} wants to know who we are",
                details=details,
                hint=f"{login}; or the image does not exist: registries do not tell strangers.",
            )
        return NetworkError(f"{host} failed with HTTP {status}", details=details, hint="Try again later.")


def _reasons(response: requests.Response) -> str:
    """What the registry says of a failure (distribution-spec 1.1, "Error Codes")."""
    try:
        errors = response.json()["errors"]
        return "\n".join(f"{one.get('code', '')}: {one.get('message', '')}" for one in errors)[:2000]
    except (ValueError, KeyError, TypeError, AttributeError, requests.exceptions.RequestException):
        return ""


def _describe(error: Exception) -> str:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return str(reason or error)


def _user_agent() -> str:
    try:
        return f"{_CLIENT}/{metadata.version('cove')}"
    except metadata.PackageNotFoundError:  # run from a source tree
        return f"{_CLIENT}/source"
