# SPDX-License-Identifier: Apache-2.0
"""Listeners on the host whose connections and datagrams are carried into the guest.

A port is taken in two steps: it is bound, and from then on nobody else can have it and clients wait in its queue;
and later it is opened, when what it leads to is there.
"""

from __future__ import annotations

import errno
import random
import socket
from typing import Protocol

from cove.host.carrying import Dial
from cove.host.ports import ANY, HostPort, Target
from cove.host.ports import Protocol as PortProtocol
from cove.host.tcp_forward import TcpForward
from cove.host.udp_forward import UdpForward

BACKLOG = 1024
"""Connections that may wait to be accepted."""

_TRIES = 64
"""Numbers that are tried before one is given that is taken."""

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Forward(Protocol):
    """One bound port."""

    def open(self, target: Target) -> None:
        """Serve clients by ``target`` from now on; those that are served already stay where they are."""

    def close(self) -> None:
        """Give the port back now, and hang up on its clients."""


def bind(port: HostPort, dial: Dial) -> Forward | None:
    """Take a port of the host.

    Returns:
        the port, or None for "all of IPv6" on a host that has none.

    Raises:
        OSError: it cannot be had: taken, not permitted, no address of this host.
    """
    try:
        listener = _listener(port)
    except OSError as error:
        if port.address == "::" and error.errno in _NO_SUCH_FAMILY:
            return None
        raise
    return TcpForward(listener, dial) if port.protocol == "tcp" else UdpForward(listener, dial)


def _listener(port: HostPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.protocol == "tcp":  # with UDP it would let two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((port.address, port.port))
        if port.protocol == "tcp":
            listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def free_number(protocol: PortProtocol, address: str, first: int, last: int) -> int:
    """A number that is free on this host now, drawn at random.

    Args:
        protocol: "tcp" or "udp".
        address: where it has to be free; "" is everywhere.
        first: the least that is drawn.
        last: the greatest.

    Returns:
        the number; any of them if none is free, so that whoever takes it is told why it cannot be had.
    """
    numbers = random.sample(range(first, last + 1), min(_TRIES, last - first + 1))
    for number in numbers:
        try:
            for each in (address,) if address else ANY:
                _listener(HostPort(protocol=protocol, address=each, port=number)).close()
        except OSError as error:
            if error.errno not in _NO_SUCH_FAMILY:
                continue
        return number
    return numbers[0]
