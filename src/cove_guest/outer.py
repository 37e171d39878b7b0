# SPDX-License-Identifier: Apache-2.0
"""End TCP connections whose other end went away without a word, in every network namespace. Imported when needed.

After a suspension the host's network knows none of the guest's connections. Whoever only reads from one would wait
for a very long time, so the kernel is told to end them: their owners see ECONNABORTED, as sock_destroy in ss(8).
Source: sock_diag(7), linux/inet_diag.h (SOCK_DESTROY).
"""

from __future__ import annotations

import _socket
import _thread
import os
import struct

from cove_guest import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Connection = tuple[int, bytes, int, bytes, int]
    """Family, local address and port, remote address and port."""

    Network = tuple[int, int]
    """Address and mask, as numbers in the host's order."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DESTROY = 21
_REQUEST_ACK = 1 | 4
_NO_COOKIE = b"\xff" * 8
_OVER = {"0A", "07", "06", "0B"}
"""LISTEN, CLOSE, TIME_WAIT, CLOSING; linux/include/net/tcp_states.h."""

_V4_MAPPED = bytes(10) + b"\xff\xff"


def cut(keep: int = -1) -> int:
    """End all connections that lead out of the guest; returns how many there were.

    Args:
        keep: descriptor of a connection to leave alone.
    """
    inner = inner_networks(_read("/proc/net/route"))
    kept = _port(keep)
    ended = 0
    for process in _one_per_namespace():
        ended += _in_namespace(process, inner, kept)
    return ended


def inner_networks(routes: str, device: str = "eth0") -> list[Network]:
    """The networks of /proc/net/route that are not reached through ``device``, with the loopback's."""
    found = [(0x7F000000, 0xFF000000)]
    for line in routes.splitlines()[1:]:
        name, destination, _, _, _, _, _, mask = line.split()[:8]
        if name != device and int(mask, 16):
            found.append((_swapped(destination), _swapped(mask)))
    return found


def connections(table: str, family: int) -> Iterator[Connection]:
    """The connections of /proc/net/tcp or tcp6 that can still end."""
    for line in table.splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if state not in _OVER:
            yield (family, *_end(local), *_end(remote))


def leads_out(address: bytes, inner: Iterable[Network]) -> bool:
    """Whether an address, of 4 or 16 bytes, is none of the guest's own networks."""
    if len(address) == 16:
        if not address.startswith(_V4_MAPPED):
            return False  # the guest's way out is IPv4
        address = address[12:]
    number = int.from_bytes(address, "big")
    return all(number & mask != network for network, mask in inner)


def destroy_request(connection: Connection) -> bytes:
    """The message that ends one connection: nlmsghdr, inet_diag_req_v2, inet_diag_sockid."""
    family, local, local_port, remote, remote_port = connection
    ports = local_port.to_bytes(2, "big") + remote_port.to_bytes(2, "big")
    addresses = local.ljust(16, b"\0") + remote.ljust(16, b"\0")
    body = struct.pack("=BBBxI", family, _socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ports + addresses
    body += struct.pack("=I", 0) + _NO_COOKIE
    return struct.pack("=IHHII", 16 + len(body), _SOCK_DESTROY, _REQUEST_ACK, 1, 0) + body


def _end(text: str) -> tuple[bytes, int]:
    """Address and port of /proc/net/tcp: words of 32 bits in the processor's order."""
    address, _, port = text.partition(":")
    words = [int(address[place : place + 8], 16) for place in range(0, len(address), 8)]
    return b"".join(struct.pack("=I", word) for word in words), int(port, 16)


def _swapped(text: str) -> int:
    return int.from_bytes(struct.pack("=I", int(text, 16)), "big")


def _one_per_namespace() -> list[str]:
    found: dict[int, str] = {}
    for process in os.listdir("/proc"):
        if process.isdigit():
            try:
                found.setdefault(os.stat(f"/proc/{process}/ns/net").st_ino, process)
            except OSError:
                continue  # it ended
    return list(found.values())


def _in_namespace(process: str, inner: list[Network], kept: int) -> int:
    """Do it on a thread of its own, which alone goes into the namespace."""
    done = _thread.allocate_lock()
    counts: list[int] = []

    def work() -> None:
        try:
            kernel.enter_network(process)
            counts.append(_end_all(process, inner, kept))
        except OSError:
            pass  # it ended
        finally:
            done.release()

    done.acquire()
    _thread.start_new_thread(work, ())
    done.acquire()
    return sum(counts)


def _end_all(process: str, inner: list[Network], kept: int) -> int:
    doomed = [
        connection
        for name, family in (("tcp", _socket.AF_INET), ("tcp6", _socket.AF_INET6))
        for connection in connections(_read(f"/proc/{process}/net/{name}"), family)
        if leads_out(connection[3], inner) and connection[4] != kept
    ]
    if not doomed:
        return 0
    ended = 0
    netlink = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    try:
        for connection in doomed:
            netlink.send(destroy_request(connection))
            answer = netlink.recv(4096)
            ended += struct.unpack_from("=i", answer, 16)[0] == 0
    finally:
        netlink.close()
    return ended


def _port(keep: int) -> int:
    """The remote port of the connection to be left alone; gvproxy gives each of its connections another."""
    if keep < 0:
        return 0
    connection = _socket.socket(fileno=os.dup(keep))
    try:
        port: int = connection.getpeername()[1]
        return port
    finally:
        connection.close()


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
