# SPDX-License-Identifier: Apache-2.0
"""A tiny Debian archive, signed with a key of its own, and a loopback server that can misbehave."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import zstandard
from pysequoia import SignatureMode, Tsk, sign

from cove.debian.archive import SUITES
from cove.debian.mirrors import Mirror

NOW = datetime.now(UTC).replace(microsecond=0)


def member(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, link, mode, 1_700_000_000
    return info


def pack_tar(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pack_ar(files: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in files.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


PACKERS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def make_deb(
    control: str, members: list[tuple[tarfile.TarInfo, bytes]], *, packer: str = ".xz", **scripts: bytes
) -> bytes:
    parts = {"control": control.encode(), **scripts}
    inner = pack_tar(
        [(member("./", tarfile.DIRTYPE), b""), *((member(f"./{n}"), d) for n, d in parts.items())]
    )
    pack = PACKERS[packer]
    return pack_ar(
        {
            "debian-binary": b"2.0\n",
            f"control.tar{packer}": pack(inner),
            f"data.tar{packer}": pack(pack_tar(members)),
        }
    )


def simple_deb(name: str, version: str = "1.0", *, size: int = 100) -> bytes:
    body = hashlib.sha256(name.encode()).digest() * (size // 32 + 1)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
    return make_deb(control, [(member(f"./usr/share/{name}"), body[:size])], packer="")


@dataclass
class World:
    """Contents of an archive before it is published."""

    key: Tsk = field(default_factory=lambda: Tsk.generate(user_id="test archive"))
    packages: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {suite: [] for suite in SUITES})
    files: dict[str, bytes] = field(default_factory=dict)
    date: datetime = NOW - timedelta(hours=1)
    valid_until: datetime | None = NOW + timedelta(days=7)
    by_hash: bool = True

    def add(
        self, name: str, version: str = "1.0", *, suite: str = "trixie", size: int = 100, **fields: str
    ) -> bytes:
        data = simple_deb(name, version, size=size)
        path = f"pool/main/{name}_{version}_amd64.deb"
        self.files[f"{self.tree(suite)}/{path}"] = data
        entry = {
            "Package": name, "Version": version, "Architecture": "amd64", "Filename": path,
            "Size": str(len(data)), "SHA256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        self.packages[suite].append(entry | {key.replace("_", "-"): value for key, value in fields.items()})
        return data

    @staticmethod
    def tree(suite: str) -> str:
        return "/debian-security" if suite.endswith("-security") else "/debian"

    def index(self, suite: str) -> bytes:
        paragraphs = ("".join(f"{k}: {v}\n" for k, v in entry.items()) for entry in self.packages[suite])
        return lzma.compress("\n".join(paragraphs).encode())

    def in_release(self, suite: str, **changes: str) -> bytes:
        index = self.index(suite)
        path = "main/binary-amd64/Packages.xz"
        fields = {"Codename": suite, "Date": format_datetime(self.date).replace("+0000", "UTC")}
        if self.valid_until:
            fields["Valid-Until"] = format_datetime(self.valid_until).replace("+0000", "UTC")
        fields["Acquire-By-Hash"] = "yes" if self.by_hash else "no"
        fields["SHA256"] = f"\n {hashlib.sha256(index).hexdigest()} {len(index)} {path}"
        text = "".join(f"{key}: {value}\n" for key, value in (fields | changes).items())
        return sign(self.key.signer(), text.encode(), mode=SignatureMode.CLEAR)

    def publish(self) -> dict[str, bytes]:
        """Every file by its URL path."""
        found = dict(self.files)
        for suite in SUITES:
            base = f"{self.tree(suite)}/dists/{suite}"
            index = self.index(suite)
            found[f"{base}/InRelease"] = self.in_release(suite)
            folder = f"{base}/main/binary-amd64"
            if self.by_hash:
                found[f"{folder}/by-hash/SHA256/{hashlib.sha256(index).hexdigest()}"] = index
            else:
                found[f"{folder}/Packages.xz"] = index
        return found

    @property
    def keyring(self) -> dict[str, list[object]]:
        return {suite: [self.key.extract_certificate()] for suite in SUITES}


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``faults[path]`` lists misdeeds, one per request: a status, "cut:N", "hold:N"."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.faults: dict[str, list[str]] = {}
        self.log: list[tuple[str, dict[str, str]]] = []
        self.ranges = True
        self.holding = threading.Event()
        self.go_on = threading.Event()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def mirror(self) -> Mirror:
        return Mirror(main=f"{self.url}/debian", security=f"{self.url}/debian-security")

    def asked(self, ending: str) -> list[dict[str, str]]:
        return [headers for path, headers in self.log if path.endswith(ending)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("127.0.0.1:")[2].partition("/")[2] if "://" in self.path else self.path[1:]
        path = f"/{path}"
        self.server.log.append((path, dict(self.headers)))
        faults = self.server.faults.get(path, [])
        fault = faults.pop(0) if faults else ""
        data = self.server.files.get(path)
        if fault.isdigit() or data is None:
            self._send(int(fault or 404), b"no")
            return
        etag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        if self.headers.get("If-None-Match") == etag:
            self._send(304, b"")
            return
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if begin and self.server.ranges:
            extra = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}
            self._send(206, data[begin:], fault, ETag=etag, **extra)
        else:
            self._send(200, data, fault, ETag=etag)

    def _send(self, status: int, body: bytes, fault: str = "", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if fault.startswith("cut:"):
            self.send_header("Connection", "close")
        if not fault.startswith("cut:nolength:"):
            self.send_header("Content-Length", str(len(body)))
        if fault.startswith("cut:"):
            body = body[: int(fault.rpartition(":")[2])]
            self.close_connection = True
        self.end_headers()
        if fault.startswith("hold:"):
            first = int(fault[5:])
            self.wfile.write(body[:first])
            self.server.holding.set()
            self.server.go_on.wait(10)
            body = body[first:]
        self.wfile.write(body)


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[Server]:
    server = Server(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
