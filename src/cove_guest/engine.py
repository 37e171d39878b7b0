# SPDX-License-Identifier: Apache-2.0
"""Docker's socket: wait for it, ask whether it answers, read a little from it.

dockerd listens before it serves: a ping sent early is answered the moment it is ready. Nothing is polled.
"""

from __future__ import annotations

import _socket
import os
import select
import time

from cove_guest import jsonlite
from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_RETRY = 0.05
"""Seconds between tries while the socket exists but nobody listens: no event tells of listen(2)."""

_ANSWER_LIMIT = 4 << 20

_LONGEST = 2_000_000.0
"""Seconds; poll(2) counts milliseconds in 31 bits."""


class Engine:
    """The engine behind the unix socket ``path``.

    Args:
        path: docker's socket; it need not exist.
        found: called once, when someone first could connect.
    """

    def __init__(self, path: str, found: Callable[[], None] | None = None) -> None:
        self.path = path
        self._found = found

    def connect(self, end: float, peer: int = -1) -> _socket.socket:
        """A connection to the socket, waiting for it to appear.

        Args:
            end: on time.monotonic(), when to give up.
            peer: the descriptor of whoever asked; when it hangs up the wait ends.

        Raises:
            RefusedError: ``deadline``, or ``gone`` when the peer hung up.
        """
        try:
            return self._dial()
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        from cove_guest import kernel

        try:
            watch = kernel.watch_folder(os.path.dirname(self.path))
        except OSError as error:
            raise RefusedError("failed", f"{self.path} cannot be waited for: {error.strerror}") from error
        try:
            return self._dial_when_there(watch, end, peer)
        finally:
            os.close(watch)

    def _dial_when_there(self, watch: int, end: float, peer: int) -> _socket.socket:
        while True:
            try:
                return self._dial()
            except FileNotFoundError:
                pause = end
            except ConnectionRefusedError:
                pause = min(end, time.monotonic() + _RETRY)
            if wait_readable(watch, pause, peer):
                os.read(watch, 65536)
            elif time.monotonic() >= end:
                raise RefusedError("deadline", f"{self.path} did not appear in time")

    def _dial(self) -> _socket.socket:
        dialled = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
        try:
            dialled.connect(self.path)
        except BaseException:
            dialled.close()
            raise
        found, self._found = self._found, None
        if found is not None:
            found()
        return dialled

    def wait(self, end: float, peer: int = -1) -> None:
        """Return when docker answers a ping.

        Raises:
            RefusedError: ``deadline``, or ``gone`` when the peer hung up.
        """
        while True:
            try:
                status, _ = self._get("/_ping", end, peer)
            except OSError:
                status = 0  # it died under our request; the next connect waits for its successor
            if status == 200:
                return
            if time.monotonic() + _RETRY >= end:
                raise RefusedError("deadline", "docker did not answer in time")
            if peer < 0:
                time.sleep(_RETRY)
            else:
                wait_readable(-1, time.monotonic() + _RETRY, peer)

    def get_json(self, path: str, end: float) -> dict[str, object]:
        """A JSON object from docker's API.

        Raises:
            RefusedError: ``engine``: docker does not answer, or not with that; ``deadline``.
        """
        try:
            status, body = self._get(path, end)
            value = jsonlite.loads(body.decode())
        except (OSError, ValueError) as error:
            raise RefusedError("engine", f"docker did not answer {path}: {error}") from error
        if status != 200 or not isinstance(value, dict):
            raise RefusedError("engine", f"docker answered {path} with status {status}")
        return value

    def wait_event(self, event: str, since: float, end: float) -> None:
        """Return when the engine has told an event of its own (of type ``daemon``).

        Args:
            event: "reload".
            since: seconds since the epoch; also one that came meanwhile counts.
            end: on time.monotonic(), when to give up.

        Raises:
            RefusedError: ``deadline``, or ``engine`` when it ended or does not answer.
        """
        filters = f"%7B%22type%22%3A%5B%22daemon%22%5D%2C%22event%22%3A%5B%22{event}%22%5D%7D"
        try:
            status, body = self._get(f"/events?since={since:.9f}&filters={filters}", end, until=b"\n")
        except OSError as error:
            raise RefusedError("engine", f"docker ended: {error.strerror}") from error
        if status != 200 or b"\n" not in body:
            raise RefusedError("engine", f"docker told no event (status {status})")

    def _get(self, path: str, end: float, peer: int = -1, until: bytes = b"") -> tuple[int, bytes]:
        """GET in HTTP/1.0, where the body ends with the connection and is never chunked (RFC 1945).

        A body that goes on for ever is read until it holds ``until``.
        """
        connection = self.connect(end, peer)
        try:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            answer = bytearray()
            while len(answer) < _ANSWER_LIMIT:
                if not wait_readable(connection.fileno(), end, peer):
                    raise RefusedError("deadline", "docker did not answer in time")
                if not (data := connection.recv(65536)):
                    break
                answer += data
                if until and until in answer.partition(b"\r\n\r\n")[2]:
                    break
        finally:
            connection.close()
        head, _, body = bytes(answer).partition(b"\r\n\r\n")
        words = head.split(None, 2)
        return (int(words[1]) if len(words) > 1 and words[1].isdigit() else 0), body


def wait_readable(handle: int, end: float, peer: int = -1) -> bool:
    """Wait until ``handle`` can be read (or broke); false when ``end`` came first. -1 is no descriptor.

    Raises:
        RefusedError: ``gone``: the peer hung up meanwhile.
    """
    poll = select.poll()
    if handle >= 0:
        poll.register(handle, select.POLLIN)
    if peer >= 0:
        poll.register(peer, select.POLLRDHUP)
    left = max(0.0, end - time.monotonic())
    ready = [each for each, _ in poll.poll(min(left, _LONGEST) * 1000)]
    if handle in ready:
        return True
    if peer in ready:
        raise RefusedError("gone", "whoever asked hung up")
    return False
