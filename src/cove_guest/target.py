# SPDX-License-Identifier: Apache-2.0
"""Where else than to docker a connection from the host can lead; imported when the first one comes.

The first chunk is words with a blank between them:

    docker                          docker's socket
    tcp ADDRESS PORT PATIENCE       a TCP server; while it refuses, it is tried again for PATIENCE milliseconds
    udp ADDRESS PORT                a UDP server; see :func:`cove_guest.relay.relay_datagrams`
    listeners                       what host-network containers listen on; see :mod:`cove_guest.listeners`
    names                           questions for names, to be answered by the host; see :mod:`cove_guest.names`

Only the host gets here, and it may do anything in the guest anyway, so any address is accepted.
"""

from __future__ import annotations

import _socket
import time

from cove_guest import relay
from cove_guest.engine import wait_readable
from cove_guest.wire import RefusedError

_CONNECT_DEADLINE = 10.0
_RETRY = 0.02
"""Seconds between tries while nobody listens: no event tells of listen(2) in another network namespace."""

_LONGEST_PATIENCE = 60.0


def serve(connection: _socket.socket, where: str, names: str) -> None:
    """Carry one connection to its end, and close it; a goal that cannot be reached is told by that alone.

    Args:
        connection: from the host.
        where: its first chunk.
        names: where questions for names arrive, ``ADDRESS:PORT``.

    Raises:
        RefusedError: it leads nowhere; the connection is the caller's to close then.
    """
    try:
        _carry(connection, where, names)
    except OSError:
        connection.close()
    except RefusedError as error:
        if error.code != "gone":
            raise
        connection.close()


def _carry(connection: _socket.socket, where: str, names: str) -> None:
    words = where.split(" ")
    if words == ["listeners"]:
        from cove_guest import listeners

        listeners.serve(connection)
        return
    if words == ["names"]:
        from cove_guest import names as questions

        address, _, port = names.rpartition(":")
        questions.serve(connection, address, int(port))
        connection.close()
        return
    try:
        kind, address, *numbers = words
        number, patience = int(numbers[0]), int(numbers[1]) / 1000 if kind == "tcp" else 0.0
    except (ValueError, IndexError):
        raise RefusedError("bad-target", f"nothing is called {where!r}") from None
    if kind == "tcp":
        end = time.monotonic() + min(patience, _LONGEST_PATIENCE)
        relay.relay(connection, dial_tcp(address, number, end, connection.fileno()))
    elif kind == "udp":
        _carry_datagrams(connection, address, number)
    else:
        raise RefusedError("bad-target", f"nothing is called {where!r}")


def dial_tcp(address: str, port: int, end: float, peer: int) -> _socket.socket:
    """A connection to a server; one that refuses is tried again until ``end``, or until ``peer`` hangs up.

    Raises:
        OSError: it cannot be had.
        RefusedError: ``gone``: the peer hung up.
    """
    while True:
        try:
            return _dial(address, port)
        except ConnectionRefusedError:
            if time.monotonic() >= end:
                raise
        wait_readable(-1, time.monotonic() + _RETRY, peer)


def _dial(address: str, port: int) -> _socket.socket:
    dialled = _socket.socket(_family(address), _socket.SOCK_STREAM, 0)
    try:
        dialled.settimeout(_CONNECT_DEADLINE)
        dialled.connect((address, port))
        dialled.settimeout(None)
        dialled.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    except BaseException:
        dialled.close()
        raise
    return dialled


def _carry_datagrams(connection: _socket.socket, address: str, port: int) -> None:
    flow = _socket.socket(_family(address), _socket.SOCK_DGRAM, 0)
    try:
        flow.connect((address, port))
        relay.relay_datagrams(connection, flow)
    finally:
        flow.close()
    connection.close()


def _family(address: str) -> int:
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET
