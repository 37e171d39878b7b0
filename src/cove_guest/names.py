# SPDX-License-Identifier: Apache-2.0
"""Questions for names: taken from whoever asks in the guest, answered by the host over one connection.

netfilter leads all that is meant for the gateway's port 53 to the address where this listens, which it does as long
as the host is connected. Nothing of a question is understood here but where it ends.

A chunk to the host is 4 bytes of token (big-endian), a byte that says how it came (0 UDP, 1 TCP), and the question;
a chunk from the host is the same token and the answer. A question that is not answered is forgotten when its place
is needed. Source of DNS over TCP: RFC 1035, 4.2.2.
"""

from __future__ import annotations

import _socket
import _thread
import select

from cove_guest.relay import CHUNK_LIMIT, read, write
from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PLACES = 1024
"""Questions that are remembered at a time."""

_CLIENTS = 64
"""Connections over TCP at a time; one more ends the oldest."""

_LEAST = 12
"""Bytes of the header, without which nothing is a question."""

_LONGEST = 65535
_TOKEN = 4
_HEADER = 4
_TAKEOVER = 10.0
"""Seconds that a former connection of the host has to let go."""

_turn = _thread.allocate_lock()
_connected: list[_socket.socket] = []
"""Connections of the host, the one that is served and those that wait for their turn."""


def serve(connection: _socket.socket, address: str, port: int) -> None:
    """Listen, and pass questions on, until the host ends the connection; the caller closes it.

    A former connection of the host, which may have died without a word, is ended.

    Raises:
        OSError: the connection broke, or the address cannot be had.
        RefusedError: a former connection does not let go.
    """
    for former in tuple(_connected):
        try:
            former.shutdown(_socket.SHUT_RDWR)
        except OSError:
            pass  # it is gone already
    _connected.append(connection)
    try:
        if not _turn.acquire(timeout=_TAKEOVER):
            raise RefusedError("busy", "names are asked over another connection")
        try:
            _Names(connection, address, port).run()
        finally:
            _turn.release()
    finally:
        _connected.remove(connection)


class _Names:
    def __init__(self, connection: _socket.socket, address: str, port: int) -> None:
        self._host = connection
        self._host.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._places: list[tuple[int, Callable[[bytes], None]] | None] = [None] * _PLACES
        self._token = 0
        self._clients: dict[int, _Client] = {}
        self._poll = select.poll()
        self._udp = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM, 0)
        self._tcp = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0)
        try:
            self._tcp.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            for each in (self._udp, self._tcp):
                each.bind((address, port))
                each.setblocking(False)
            self._tcp.listen(_CLIENTS)
        except BaseException:
            self._close()
            raise

    def run(self) -> None:
        takers: dict[int, Callable[[], None]] = {
            self._udp.fileno(): self._take_datagram,
            self._tcp.fileno(): self._take_client,
        }
        for number in (self._host.fileno(), *takers):
            self._poll.register(number, select.POLLIN)
        try:
            while True:
                for number, _ in self._poll.poll():
                    if number == self._host.fileno():
                        if not self._take_answer():
                            return
                    elif number in takers:
                        takers[number]()
                    elif number in self._clients:
                        self._hear(number)
        finally:
            self._close()

    def _take_answer(self) -> bool:
        """Pass an answer on to whoever asked; False at the end."""
        length = int.from_bytes(read(self._host.fileno(), _HEADER), "big")
        if not length:
            return False
        if not _TOKEN < length <= CHUNK_LIMIT:
            raise OSError("an answer is too long or too short")
        data = read(self._host.fileno(), length)
        token = int.from_bytes(data[:_TOKEN], "big")
        waiting = self._places[token % _PLACES]
        if waiting is not None and waiting[0] == token:
            self._places[token % _PLACES] = None
            try:
                waiting[1](data[_TOKEN:])
            except OSError:
                pass  # whoever asked is gone, or does not take it
        return True

    def _ask(self, way: int, question: bytes, answer: Callable[[bytes], None]) -> None:
        if len(question) < _LEAST:
            return
        self._token = (self._token + 1) & 0xFFFFFFFF
        self._places[self._token % _PLACES] = (self._token, answer)
        data = self._token.to_bytes(_TOKEN, "big") + bytes((way,)) + question
        write(self._host.fileno(), len(data).to_bytes(_HEADER, "big") + data)

    def _take_datagram(self) -> None:
        try:
            question, asker = self._udp.recvfrom(_LONGEST)
        except OSError:
            return  # an earlier answer met nobody, or another took the question

        def send(answer: bytes) -> None:
            self._udp.sendto(answer, asker)

        self._ask(0, question, send)

    def _take_client(self) -> None:
        try:
            number, _ = self._tcp._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - accept() belongs to socket.py
        except OSError:
            return  # it hung up before we came
        if len(self._clients) >= _CLIENTS:
            self._drop(next(iter(self._clients)))
        self._clients[number] = _Client(number)
        self._poll.register(number, select.POLLIN)

    def _hear(self, number: int) -> None:
        client = self._clients[number]
        try:
            questions = client.read()
        except OSError:
            self._drop(number)
            return
        for question in questions:
            self._ask(1, question, client.answer)

    def _drop(self, number: int) -> None:
        self._poll.unregister(number)
        self._clients.pop(number).socket.close()

    def _close(self) -> None:
        for client in self._clients.values():
            client.socket.close()
        self._udp.close()
        self._tcp.close()


class _Client:
    """A connection over TCP: each question and each answer after its length in two bytes."""

    def __init__(self, number: int) -> None:
        self.socket = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, number)
        self.socket.setblocking(False)
        self._held = b""

    def read(self) -> list[bytes]:
        """The questions that are whole by now.

        Raises:
            OSError: the connection ended or broke.
        """
        try:
            data = self.socket.recv(_LONGEST)
        except BlockingIOError:
            return []  # the news was for a former connection of the same number
        if not data:
            raise ConnectionResetError
        self._held += data
        found = []
        while len(self._held) >= 2 and len(self._held) >= (end := 2 + int.from_bytes(self._held[:2], "big")):
            found.append(self._held[2:end])
            self._held = self._held[end:]
        return found

    def answer(self, data: bytes) -> None:
        """Send an answer; a client that does not take it whole, and now, is ended.

        Raises:
            OSError: the connection broke.
        """
        whole = len(data).to_bytes(2, "big") + data
        if self.socket.send(whole) < len(whole):
            self.socket.shutdown(_socket.SHUT_RDWR)
