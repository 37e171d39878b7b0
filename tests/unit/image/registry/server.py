# SPDX-License-Identifier: Apache-2.0
"""A small registry on the loopback that can misbehave: distribution-spec 1.1, pull only, with token service."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Registry:
    """What it has and how it behaves; may be changed while it runs.

    Args:
        auth: what it asks for.
        user, password, identity: who may pull; with "token" and no password anybody may.
        tags: digest by "REPOSITORY:TAG".
        blobs: everything by digest, manifests included.
        cut: bytes of a blob after which the connection breaks, by digest; each counts once per entry.
        altered: other bytes of the same length by digest.
        failures: status codes of the next answers, before anything else.
        retry_after: sent with those.
        ranges: whether it knows them.
        token_uses: requests that a token is good for.
        elsewhere: address of a server that blobs are really at.
        secrets: every Authorization header that came.
    """

    auth: Literal["none", "basic", "token"] = "none"
    user: str = ""
    password: str = ""
    identity: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    altered: dict[str, bytes] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    retry_after: str = ""
    ranges: bool = True
    token_uses: int = 1000
    elsewhere: str = ""
    secrets: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    host: str = ""
    _tokens: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, layout: Path) -> None:
        """Have what an OCI layout has; images are named as there, without their host."""
        for path in (layout / "blobs/sha256").iterdir():
            self.blobs[f"sha256:{path.name}"] = path.read_bytes()
        for entry in json.loads((layout / "index.json").read_text())["manifests"]:
            name = entry["annotations"]["io.containerd.image.name"].partition("/")[2]
            self.tags[name] = entry["digest"]

    def blob_requests(self) -> list[str]:
        return [one for one in self.requests if "/blobs/" in one]

    @contextmanager
    def serving(self) -> Iterator[Registry]:
        handler = type("Handler", (_Handler,), {"registry": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        self.host = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    registry: Registry
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: Any) -> None:
        pass

    def do_GET(self) -> None:
        registry = self.registry
        place = self.headers.get("Range")
        registry.requests.append(self.path + (f" {place}" if place else ""))
        registry.secrets += self.headers.get_all("Authorization") or []
        if urlsplit(self.path).path == "/token":
            self._token(parse_qs(urlsplit(self.path).query), self._basic())
        elif registry.failures:
            with registry._lock:
                status = registry.failures.pop(0)
            headers = {"Retry-After": registry.retry_after} if registry.retry_after else {}
            self._answer(status, _error("TOOMANYREQUESTS", "slow down"), headers)
        elif self._allowed():
            if registry.elsewhere and "/blobs/" in self.path:
                self._answer(307, b"", {"Location": registry.elsewhere + self.path})
            else:
                self._content()

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.registry.requests.append(f"POST {self.path}")
        if form["grant_type"] == ["refresh_token"] and form["refresh_token"] == [self.registry.identity]:
            self._give_token("access_token")
        else:
            self._answer(401, _error("UNAUTHORIZED", "no such token"))

    def _basic(self) -> str:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(value).decode() if kind == "Basic" else ""

    def _token(self, query: dict[str, list[str]], basic: str) -> None:
        registry = self.registry
        wanted = f"{registry.user}:{registry.password}" if registry.password or registry.identity else ""
        assert query["service"] == ["tests"]
        assert query["scope"][0].endswith(":pull")
        if basic == wanted or not wanted:
            self._give_token("token")
        else:
            self._answer(401, _error("UNAUTHORIZED", "incorrect username or password"))

    def _give_token(self, key: str) -> None:
        registry = self.registry
        with registry._lock:
            token = f"t{len(registry._tokens)}"
            registry._tokens[token] = registry.token_uses
        self._answer(200, json.dumps({key: token}).encode())

    def _allowed(self) -> bool:
        registry = self.registry
        if registry.auth == "none":
            return True
        if registry.auth == "basic":
            if self._basic() == f"{registry.user}:{registry.password}":
                return True
            self._answer(
                401, _error("UNAUTHORIZED", "who are you?"), {"Www-Authenticate": 'Basic realm="tests"'}
            )
            return False
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        with registry._lock:
            left = registry._tokens.get(token, 0) if kind == "Bearer" else 0
            if left:
                registry._tokens[token] = left - 1
        if not left:
            repository = self.path.split("/manifests/")[0].split("/blobs/")[0].removeprefix("/v2/")
            realm = f'Bearer realm="http://{registry.host}/token",service="tests",scope="repository:{repository}:pull"'
            self._answer(401, _error("UNAUTHORIZED", "authentication required"), {"Www-Authenticate": realm})
        return bool(left)

    def _content(self) -> None:
        registry = self.registry
        if "/manifests/" in self.path:
            repository, _, name = self.path.removeprefix("/v2/").partition("/manifests/")
            digest = name if ":" in name else registry.tags.get(f"{repository}:{name}", "")
        else:
            digest = self.path.rpartition("/")[2]
        data = registry.altered.get(digest, registry.blobs.get(digest))
        if data is None:
            self._answer(404, _error("MANIFEST_UNKNOWN", "manifest unknown"))
            return
        headers = {}
        if "/manifests/" in self.path:
            kind = json.loads(data).get("mediaType") if data.startswith(b"{") else MANIFEST
            headers = {"Content-Type": kind or INDEX, "Docker-Content-Digest": digest}
        self._body(digest, data, headers)

    def _body(self, digest: str, data: bytes, headers: dict[str, str]) -> None:
        registry = self.registry
        status = 200
        wanted = self.headers.get("Range")
        if wanted and registry.ranges:
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            if begin >= len(data):
                self._answer(416, b"")
                return
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            status, data = 206, data[begin:]
        with registry._lock:
            cuts = registry.cut.get(digest, [])
            cut = cuts.pop(0) if cuts else None
        self._answer(status, data, headers, cut=cut)

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True


def _error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
