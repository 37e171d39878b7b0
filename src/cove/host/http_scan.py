# SPDX-License-Identifier: Apache-2.0
"""Find the few requests that matter in what a client sends to the engine, however it is cut into pieces. Pure.

Nothing is ever changed or lost: what comes out is what came in, only that a request's head is held back until it is
whole. Whatever is not plain HTTP/1.x (RFC 9112) as docker's clients speak it, and everything after a request that
may take its connection over (attach, exec, session, upgrades), is passed through unread from there on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

HEAD_LIMIT = 64 << 10
"""Bytes of the longest head that is held back."""

BODY_LIMIT = 4 << 20
"""Bytes of the longest body of a creation that is held back; docker's are a few thousand."""

_LINE_LIMIT = 1 << 10
"""Bytes of the longest line between chunks that is understood."""

_HEAD_END = re.compile(rb"\n\r?\n")
_REQUEST_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
_LENGTH = re.compile(rb"(?i)(\ncontent-length:[ \t]*)\d+")
_TAKEN_OVER = re.compile(r"(/v[\d.]+)?/(containers/[^/]+/attach|exec/[^/]+/start|session|grpc)(/.*)?")
_CREATE = re.compile(r"(?:/v[\d.]+)?/containers/create")
_CALL = re.compile(r"(?:/v[\d.]+)?/containers/([^/]+)(?:/(start|restart|stop|kill))?")


class Action(StrEnum):
    """What a request does to a container."""

    START = "start"
    RESTART = "restart"
    STOP = "stop"
    KILL = "kill"
    REMOVE = "remove"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that starts or ends a container.

    Args:
        action: what it does.
        container: name, id or the beginning of an id, as the client wrote it.
        head: the request's head, whole; its body, if any, follows as bytes.
        number: 1 for the first request of its connection.
    """

    action: Action
    container: str
    head: bytes
    number: int


@dataclass(frozen=True, kw_only=True)
class Creation:
    """A request that creates a container, whole.

    Args:
        head: the request's head.
        body: its body.
        number: 1 for the first request of its connection.
    """

    head: bytes
    body: bytes
    number: int


def with_body(creation: Creation, body: bytes) -> bytes:
    """The request with another body, whole."""
    if body == creation.body:
        return creation.head + body
    return _LENGTH.sub(b"\\g<1>%d" % len(body), creation.head, count=1) + body


class RequestScanner:
    """Follows one connection.

    Attributes:
        requests: how many heads have been seen whole.
        raw: everything is passed through from now on.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.raw = False
        self._held = bytearray()
        self._body = 0
        self._chunks: _Chunks | None = None
        self._creation = b""

    def feed(self, data: bytes) -> list[bytes | Call | Creation]:
        """What to pass on now, in order: bytes as they are, and requests that matter."""
        found: list[bytes | Call | Creation] = []
        rest = bytes(self._held) + data if self._held else data
        self._held.clear()
        while rest and not self.raw:
            if self._creation:
                if len(rest) < self._body:
                    self._held += rest
                    return found
                found.append(self._created(rest[: self._body]))
                rest = rest[self._body :]
                self._body = 0
            elif length := self._within_body(rest):
                found.append(rest[:length])
                rest = rest[length:]
            elif (end := _HEAD_END.search(rest)) is not None:
                found += self._head(rest[: end.end()])
                rest = rest[end.end() :]
            elif len(rest) < HEAD_LIMIT and _may_be_head(rest):
                self._held += rest
                rest = b""
            else:
                self.raw = True
        if rest:
            found.append(rest)
        return found

    def finish(self) -> bytes:
        """What is still held back when the client has ended its direction."""
        rest = self._creation + bytes(self._held)
        self._creation = b""
        self._held.clear()
        return rest

    def _created(self, body: bytes) -> Creation:
        head, self._creation = self._creation, b""
        return Creation(head=head, body=body, number=self.requests)

    def _within_body(self, data: bytes) -> int:
        """How much of ``data`` is the current request's body."""
        if self._chunks is not None:
            length = self._chunks.feed(data)
            if self._chunks.failed:
                self.raw = True
            if self._chunks.done:
                self._chunks = None
            return length
        length = min(self._body, len(data))
        self._body -= length
        return length

    def _head(self, head: bytes) -> list[bytes | Call]:
        """Read a head: decide how its body is delimited and whether it matters."""
        self.requests += 1
        request = _parse(head)
        if request is None:
            self.raw = True
            return [head]
        self._body = request.length
        self._chunks = _Chunks() if request.chunked else None
        if _CREATE.fullmatch(request.path) and request.method == "POST" and 0 < request.length <= BODY_LIMIT:
            self._creation = head  # goes on with its body
            return []
        call = _CALL.fullmatch(request.path)
        action = _action(request.method, call[2]) if call else None
        if call is None or action is None:
            return [head]
        return [Call(action=action, container=unquote(call[1]), head=head, number=self.requests)]


def _action(method: str, verb: str | None) -> Action | None:
    if method == "DELETE" and verb is None:
        return Action.REMOVE
    return Action(verb) if method == "POST" and verb is not None else None


@dataclass(frozen=True, kw_only=True)
class _Request:
    method: str
    path: str
    length: int
    chunked: bool


def _may_be_head(data: bytes) -> bool:
    """Whether a head can begin like this; a client that speaks first and waits must not be held back."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        return _REQUEST_LINE.fullmatch(line.removesuffix(b"\r")) is not None
    return re.match(rb"[A-Z]+(\Z| (\Z|/))", line) is not None


def _parse(head: bytes) -> _Request | None:
    """The head of a request that leaves its connection as it is, or None."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    fields = [_FIELD.fullmatch(each) for each in lines]
    if line is None or line[1] == b"CONNECT" or not head.endswith(b"\r\n\r\n"):
        return None
    path = line[2].decode("ascii").partition("?")[0]
    if _TAKEN_OVER.fullmatch(path):
        return None
    headers: dict[bytes, bytes] = {}
    for field in fields:
        if field is None or (field[1].lower() in headers and field[1].lower() in _FRAMING):
            return None
        headers[field[1].lower()] = field[2]
    return _framed(line[1].decode("ascii"), path, headers)


_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"})


def _framed(method: str, path: str, headers: dict[bytes, bytes]) -> _Request | None:
    length = headers.get(b"content-length", b"0")
    coding = headers.get(b"transfer-encoding")
    if (
        b"upgrade" in headers
        or b"upgrade" in headers.get(b"connection", b"").lower()
        or b"expect" in headers  # whether the body comes depends on the answer
        or not length.isdigit()
        or (coding is not None and (coding.lower() != b"chunked" or b"content-length" in headers))
    ):
        return None
    return _Request(method=method, path=path, length=int(length), chunked=coding is not None)


class _Chunks:
    """Finds the end of a body in chunks (RFC 9112, section 7.1).

    Attributes:
        done: the end was found.
        failed: it is malformed.
    """

    def __init__(self) -> None:
        self.done = False
        self.failed = False
        self._line = bytearray()
        self._data = 0
        self._trailer = False

    def feed(self, data: bytes) -> int:
        """How many bytes of ``data`` belong to the body; all, unless it ends within."""
        position = 0
        while position < len(data) and not self.done and not self.failed:
            if self._data:
                step = min(self._data, len(data) - position)
                self._data -= step
                position += step
                continue
            newline = data.find(b"\n", position)
            end = len(data) if newline < 0 else newline + 1
            self._line += data[position:end]
            position = end
            if len(self._line) > _LINE_LIMIT:
                self.failed = True
            elif newline >= 0:
                self._take_line(bytes(self._line))
                self._line.clear()
        return position

    def _take_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            self.failed = True
        elif self._trailer:
            self.done = line == b"\r\n"
        else:
            size = re.fullmatch(rb"([0-9A-Fa-f]{1,15})[ \t]*(;.*)?\r\n", line)
            if size is None:
                self.failed = True
            elif length := int(size[1], 16):
                self._data = length + 2  # with the line end behind it
            else:
                self._trailer = True
